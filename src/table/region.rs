//! The one door to mapped memory: a file becomes `&[Line]`, lines of atomic words, and a few notes,
//! atomic words too.
//!
//! Nothing else in the crate sees a mapped byte, and nothing sees one as anything but an atomic
//! word: a stray writer to the file is then just another thread. A heap twin serves tests and
//! models, where there is no file.

use super::layout::{Line, Notes};
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

    fn notes(&self) -> &Notes {
        match &self.0 {
            #[cfg(not(tollgate_loom))]
            Owner::Mapped(mapped) => mapped.notes(),
            #[cfg(any(test, tollgate_loom))]
            Owner::Heap(_, notes) => notes,
        }
    }

    /// Slots that were ever used.
    pub(super) fn used(&self) -> u64 {
        // Ordering: relaxed; changed under the shard's lock, else a number to go by.
        self.notes().used.load(Ordering::Relaxed)
    }

    /// Notes how many slots were ever used. Under the shard's lock.
    pub(super) fn set_used(&self, used: u64) {
        // Ordering: relaxed, as above.
        self.notes().used.store(used, Ordering::Relaxed);
    }

    /// Empties it and gives its memory back, while others may still look into it.
    pub(super) fn retire(&self) -> std::io::Result<()> {
        match &self.0 {
            #[cfg(not(tollgate_loom))]
            Owner::Mapped(mapped) => mapped.retire(),
            #[cfg(any(test, tollgate_loom))]
            Owner::Heap(lines, _) => {
                for slot in lines.iter().flat_map(|line| &line.slots) {
                    // Ordering: release, as the kernel takes a page away: who sees that it is
                    // gone sees what was done before.
                    slot.tag.store(0, Ordering::Release);
                    slot.word.store(0, Ordering::Release);
                }
                Ok(())
            }
        }
    }
}

/// What the next opener is told. He has the lock after us, and nobody else reads it.
#[cfg(not(tollgate_loom))]
impl Region {
    /// Puts a stamp on it.
    pub(crate) fn stamp(&self, stamp: u64) {
        // Ordering: relaxed, as all of these.
        self.notes().stamp.store(stamp, Ordering::Relaxed);
    }

    /// The stamp that it bears.
    pub(crate) fn stamped(&self) -> u64 {
        // Ordering: relaxed.
        self.notes().stamp.load(Ordering::Relaxed)
    }

    /// Lines of the generation that it is being copied into; zero if it is not.
    pub(crate) fn next_lines(&self) -> u64 {
        // Ordering: relaxed.
        self.notes().next_lines.load(Ordering::Relaxed)
    }

    /// Notes that it will be copied into so many lines: before the first word moves.
    pub(crate) fn set_next_lines(&self, lines: u64) {
        // Ordering: release, so that the compiler keeps it before what is done next: after a
        // kill a word that has moved is to be looked for.
        self.notes().next_lines.store(lines, Ordering::Release);
    }

    /// Notes in it which file it is.
    pub(crate) fn note_identity(&self) {
        let (device, inode) = self.identity();
        // Ordering: relaxed, both.
        let noted = &self.notes().identity;
        noted[0].store(device, Ordering::Relaxed);
        noted[1].store(inode, Ordering::Relaxed);
    }

    /// True if it is the file that it says it is: neither a copy nor a restored one.
    pub(crate) fn is_itself(&self) -> bool {
        let noted = &self.notes().identity;
        // Ordering: relaxed, both.
        let [device, inode] = [0, 1].map(|part| noted[part].load(Ordering::Relaxed));
        (device, inode) == self.identity()
    }

    fn identity(&self) -> (u64, u64) {
        match &self.0 {
            Owner::Mapped(mapped) => mapped.identity,
            #[cfg(test)]
            Owner::Heap(..) => (0, 0),
        }
    }
}

#[cfg(not(tollgate_loom))]
mod mapped {
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::MetadataExt;

    use memmap2::{Advice, MmapMut, MmapOptions, MmapRaw};
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

    use super::super::layout::{HEADER_LEN, Line, NOTES_AT, Notes};
    use super::{Owner, Region};

    /// A whole shard file, header page and lines; or as much memory of our own.
    pub(super) struct Mapped {
        map: MmapRaw,
        lines: usize,
        /// Device and inode number of the file; zeros if there is none.
        pub(super) identity: (u64, u64),
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

    /// Bytes that are given back at a time.
    // Bound: page faults of checks wait for so many to be taken away.
    const RETIRED_AT_ONCE: usize = 1 << 20;

    /// Bytes that are touched at a time: a quarter of a millisecond or so.
    const POPULATED_AT_ONCE: usize = 1 << 19;

    impl Mapped {
        fn populate(&self, is_waited_for: impl Fn() -> bool) {
            let all = self.map.len();
            for from in (0..all).step_by(POPULATED_AT_ONCE) {
                let len = POPULATED_AT_ONCE.min(all - from);
                let advised = self.map.advise_range(Advice::PopulateWrite, from, len);
                // Unknown before Linux 5.14, and no more than advice: what is not at hand comes
                // when it is touched.
                if advised.is_err() || is_waited_for() {
                    return;
                }
            }
        }

        /// Puts empty memory of this process in the place of the whole mapping.
        #[expect(unsafe_code, reason = "who still has a reference must not fall off")]
        pub(super) fn retire(&self) -> io::Result<()> {
            let all = self.map.len();
            for from in (0..all).step_by(RETIRED_AT_ONCE) {
                let len = RETIRED_AT_ONCE.min(all - from);
                let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
                // Safety: `from` is a whole number of pages into the mapping and `len` ends within
                // it, so nothing but our own mapping is replaced. It keeps its address and length,
                // and stays readable and writable: references to it stay valid, and see atomic
                // words that became zero, as another process could have made them. Dropping the
                // mapping unmaps the same range.
                unsafe {
                    let at = self.map.as_mut_ptr().add(from).cast();
                    mmap_anonymous(at, len, ProtFlags::READ | ProtFlags::WRITE, flags)?;
                }
            }
            Ok(())
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
            let meta = file.metadata()?;
            let identity = (meta.dev(), meta.ino());
            Ok(Self(Owner::Mapped(Mapped {
                map,
                lines,
                identity,
            })))
        }

        /// Has every page at hand, so that no check is the first to touch one; as far as there is
        /// time for it before `is_waited_for`.
        pub(crate) fn populate(&self, is_waited_for: impl Fn() -> bool) {
            match &self.0 {
                Owner::Mapped(mapped) => mapped.populate(is_waited_for),
                #[cfg(test)]
                Owner::Heap(..) => {}
            }
        }

        /// So many empty lines in memory of this process, which takes up pages as they are used.
        pub(crate) fn anonymous(lines: usize) -> io::Result<Self> {
            let map = MmapMut::map_anon(whole_len(lines)?)?.into();
            let identity = (0, 0);
            Ok(Self(Owner::Mapped(Mapped {
                map,
                lines,
                identity,
            })))
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
