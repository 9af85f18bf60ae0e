//! Logs that were compressed, by the first bytes of what they are in.

use std::io::{self, BufRead, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Bytes that are enough to tell.
pub(super) const MAGIC_BYTES: usize = 6;

/// The first bytes of every gzip member (RFC 1952), of bzip2 and xz files, and of a zstd frame
/// (RFC 8878).
const GZIP: &[u8] = &[0x1f, 0x8b];
const BZIP2: &[u8] = b"BZh";
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Largest window of a zstd frame that is decoded, in bytes.
// Bound: `zstd` itself refuses more than 128 MiB without `--long`.
const ZSTD_WINDOW_MAX: u64 = 128 << 20;

/// Memory for one block of an xz file, in KiB.
// Bound: `xz -9` needs 65 MiB.
const XZ_MEMORY_MAX_KIB: u32 = 256 << 10;

/// The bytes of `packed`, which begins with `magic`, unpacked; or itself if it is not packed.
pub(super) fn unpack<R: BufRead + 'static>(magic: &[u8], packed: R) -> Result<Box<dyn Read>, R> {
    Ok(if magic.starts_with(GZIP) {
        Box::new(MultiGzDecoder::new(packed))
    } else if magic.starts_with(BZIP2) {
        Box::new(MultiBzDecoder::new(packed))
    } else if magic.starts_with(XZ) {
        Box::new(XzReader::new_mem_limit(packed, true, XZ_MEMORY_MAX_KIB))
    } else if magic.starts_with(ZSTD) {
        Box::new(Zstd::new(packed))
    } else {
        return Err(packed);
    })
}

/// The frames of a zstd file, one after the other.
struct Zstd<R> {
    packed: R,
    decoder: FrameDecoder,
    is_in_frame: bool,
}

impl<R: BufRead> Zstd<R> {
    fn new(packed: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(ZSTD_WINDOW_MAX);
        Self {
            packed,
            decoder,
            is_in_frame: false,
        }
    }

    /// Begins the next frame; false if there is none.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.packed.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.packed) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    io::copy(&mut (&mut self.packed).take(length.into()), &mut io::sink())?;
                }
                Err(fault) => return Err(io::Error::other(fault)),
            }
        }
        Ok(false)
    }

    /// # Errors
    /// If the frame that ended is not what was packed.
    fn end(&self) -> io::Result<()> {
        let sums = (
            self.decoder.get_checksum_from_data(),
            self.decoder.get_calculated_checksum(),
        );
        match sums {
            (Some(told), Some(found)) if told != found => {
                Err(io::Error::other("a zstd frame whose checksum differs"))
            }
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.is_in_frame {
                if !self.begin()? {
                    return Ok(0);
                }
                self.is_in_frame = true;
            }
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if self.decoder.is_finished() {
                self.end()?;
                self.is_in_frame = false;
                continue;
            }
            let one = BlockDecodingStrategy::UptoBlocks(1);
            let done = self.decoder.decode_blocks(&mut self.packed, one);
            done.map_err(io::Error::other)?;
        }
    }
}
