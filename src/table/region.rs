//! The one door to mapped memory: a file becomes `&[Line]`, lines of atomic words, and a few notes,
//! atomic words too.
//!
//! Nothing else in the crate sees a mapped byte, and nothing sees one as anything but an atomic
//! word: a stray writer to the file is then just another thread. A heap twin serves tests and
//! models, where there is no file.

use super::layout::{Line, Notes};
#[cfg(not(tollgate_loom))]
use crate::sync::Ordering;

/// Lines of slots, mapped or on the heap.
pub(crate) struct Region(Owner);

enum Owner {
    #[cfg(not(tollgate_loom))]
    Mapped(mapped::Mapped),
    #[cfg(any(test, tollgate_loom))]
    Heap(Box<[Line]>, Notes),
}

impl Region {
    /// So many empty lines on the heap.
    #[cfg(any(test, tollgate_loom))]
    pub(crate) fn heap(lines: usize) -> Self {
        Self(Owner::Heap(Line::heap(lines), Notes::empty()))
    }

    /// The lines.
    #[inline]
    pub(super) fn lines(&self) -> &[Line] {
        match &self.0 {
            #[cfg(not(tollgate_loom))]
            Owner::Mapped(mapped) => mapped.lines(),
            #[cfg(any(test, tollgate_loom))]
            Owner::Heap(lines, _) => lines,
        }
    }

    /// Puts a stamp on it.
    #[cfg(not(tollgate_loom))]
    pub(super) fn stamp(&self, stamp: u64) {
        // Ordering: relaxed; read by the next opener, who has the lock after us.
        self.notes().stamp.store(stamp, Ordering::Relaxed);
    }

    /// True if it bears one of these stamps.
    #[cfg(not(tollgate_loom))]
    pub(super) fn has_stamp(&self, stamps: [u64; 2]) -> bool {
        // Ordering: relaxed; written before the lock was ours.
        stamps.contains(&self.notes().stamp.load(Ordering::Relaxed))
    }

    #[cfg(not(tollgate_loom))]
    fn notes(&self) -> &Notes {
        match &self.0 {
            #[cfg(not(tollgate_loom))]
            Owner::Mapped(mapped) => mapped.notes(),
            #[cfg(any(test, tollgate_loom))]
            Owner::Heap(_, notes) => notes,
        }
    }
}

#[cfg(not(tollgate_loom))]
mod mapped {
    use std::fs::File;
    use std::io;

    use memmap2::{Advice, MmapMut, MmapOptions, MmapRaw};

    use super::super::layout::{HEADER_LEN, Line, NOTES_AT, Notes};
    use super::{Owner, Region};

    /// A whole shard file, header page and lines; or as much memory of our own.
    pub(super) struct Mapped {
        map: MmapRaw,
        lines: usize,
    }

    impl Mapped {
        #[inline]
        #[expect(unsafe_code, reason = "the crate's one view of mapped memory")]
        pub(super) fn lines(&self) -> &[Line] {
            // Safety: the mapping is `HEADER_LEN + lines * LINE_LEN` bytes long (`whole_len`) and
            // lives as long as `self`. It starts at a page boundary and the header is a whole
            // number of lines, so the first line is aligned. Every bit pattern is a valid `Line`,
            // which holds only atomics: writes through shared references are what they are for,
            // here and in any other process that maps the file. Should another process cut the file
            // short, an access ends this process by SIGBUS; it is never undefined. The directory
            // lock, the file's mode and its allocated length keep that from happening by accident.
            unsafe {
                let first = self.map.as_mut_ptr().add(HEADER_LEN);
                std::slice::from_raw_parts(first.cast::<Line>(), self.lines)
            }
        }

        #[expect(unsafe_code, reason = "the same view, of the notes in the header page")]
        pub(super) fn notes(&self) -> &Notes {
            // Safety: as above; `NOTES_AT` is aligned for `Notes`, which holds only atomics and
            // lies in the header page with all of it.
            unsafe {
                let notes = self.map.as_mut_ptr().add(NOTES_AT);
                &*notes.cast::<Notes>()
            }
        }
    }

    /// Bytes of a mapping of so many lines and a header page.
    fn whole_len(lines: usize) -> io::Result<usize> {
        let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "mapping too long");
        let len = lines.checked_mul(size_of::<Line>());
        len.and_then(|len| len.checked_add(HEADER_LEN))
            .ok_or_else(too_long)
    }

    impl Region {
        /// Maps the header page of `file` and the `lines` lines behind it.
        ///
        /// The caller has made sure that the file is that long and that its blocks are allocated.
        pub(crate) fn map(file: &File, lines: usize) -> io::Result<Self> {
            let map = MmapOptions::new().len(whole_len(lines)?).map_raw(file)?;
            // Keys are hashed, so neighbours are strangers: reading ahead only costs. On ext4 it
            // is also what makes first writes after a write-back cheap.
            map.advise(Advice::Random)?;
            Ok(Self(Owner::Mapped(Mapped { map, lines })))
        }

        /// So many empty lines in memory of this process, which takes up pages as they are used.
        pub(crate) fn anonymous(lines: usize) -> io::Result<Self> {
            let map = MmapMut::map_anon(whole_len(lines)?)?.into();
            Ok(Self(Owner::Mapped(Mapped { map, lines })))
        }

        /// Writes the mapped pages back to the file and waits for the disk.
        pub(crate) fn sync(&self) -> io::Result<()> {
            match &self.0 {
                Owner::Mapped(mapped) => mapped.map.flush(),
                #[cfg(test)]
                Owner::Heap(..) => Ok(()),
            }
        }
    }
}
