//! The one door to mapped memory: a file becomes `&[Line]`, lines of atomic words.
//!
//! Nothing else in the crate sees a mapped byte, and nothing sees one as anything but an atomic
//! word: a stray writer to the file is then just another thread. A heap twin serves tests and
//! models, where there is no file.

use super::layout::Line;

/// Lines of slots, mapped or on the heap.
pub(crate) struct Region(Owner);

enum Owner {
    #[cfg(not(tollgate_loom))]
    Mapped(mapped::Mapped),
    #[cfg(any(test, tollgate_loom))]
    Heap(Box<[Line]>),
}

impl Region {
    /// So many empty lines on the heap.
    #[cfg(any(test, tollgate_loom))]
    pub(crate) fn heap(lines: usize) -> Self {
        Self(Owner::Heap(Line::heap(lines)))
    }

    /// The lines.
    #[inline]
    pub(super) fn lines(&self) -> &[Line] {
        match &self.0 {
            #[cfg(not(tollgate_loom))]
            Owner::Mapped(mapped) => mapped.lines(),
            #[cfg(any(test, tollgate_loom))]
            Owner::Heap(lines) => lines,
        }
    }
}

#[cfg(not(tollgate_loom))]
mod mapped {
    use std::fs::File;
    use std::io;

    use memmap2::{Advice, MmapMut, MmapOptions, MmapRaw};

    use super::super::layout::{HEADER_LEN, LINE_LEN, Line};
    use super::{Owner, Region};

    pub(super) struct Mapped {
        map: MmapRaw,
        lines: usize,
    }

    impl Mapped {
        #[inline]
        #[expect(unsafe_code, reason = "the crate's one view of mapped memory")]
        pub(super) fn lines(&self) -> &[Line] {
            let first = self.map.as_mut_ptr().cast::<Line>();
            // Safety: the mapping is `lines * LINE_LEN` bytes long (`Region::map` makes it so) and
            // lives as long as `self`. It starts at a page boundary plus a whole number of pages,
            // so it is aligned for `Line`; so does memory of our own (`Region::anonymous`). Every
            // bit pattern is a valid `Line`, which holds only atomics: writes through shared
            // references are what they are for, here and in any other process that maps the
            // file. Should another process cut the file short, an access ends this process by
            // SIGBUS; it is never undefined. The directory lock, the file's mode and its
            // allocated length keep that from happening by accident.
            unsafe { std::slice::from_raw_parts(first, self.lines) }
        }
    }

    impl Region {
        /// Maps `lines` lines of `file` behind its header page.
        ///
        /// The caller has made sure that the file is that long and that its blocks are allocated.
        pub(crate) fn map(file: &File, lines: usize) -> io::Result<Self> {
            let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "mapping too long");
            let line_len = usize::try_from(LINE_LEN).map_err(|_| too_long())?;
            let len = lines.checked_mul(line_len).ok_or_else(too_long)?;
            let map = MmapOptions::new()
                .offset(HEADER_LEN)
                .len(len)
                .map_raw(file)?;
            // Keys are hashed, so neighbours are strangers: reading ahead only costs. On ext4 it
            // is also what makes first writes after a write-back cheap.
            map.advise(Advice::Random)?;
            Ok(Self(Owner::Mapped(Mapped { map, lines })))
        }

        /// So many empty lines in memory of this process, which takes up pages as they are used.
        pub(crate) fn anonymous(lines: usize) -> io::Result<Self> {
            let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "mapping too long");
            let line_len = usize::try_from(LINE_LEN).map_err(|_| too_long())?;
            let len = lines.checked_mul(line_len).ok_or_else(too_long)?;
            let map = MmapMut::map_anon(len)?.into();
            Ok(Self(Owner::Mapped(Mapped { map, lines })))
        }

        /// Writes the mapped pages back to the file and waits for the disk.
        pub(crate) fn sync(&self) -> io::Result<()> {
            match &self.0 {
                Owner::Mapped(mapped) => mapped.map.flush(),
                #[cfg(test)]
                Owner::Heap(_) => Ok(()),
            }
        }
    }
}
