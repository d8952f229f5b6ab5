//! How much memory the daemon occupies: one heap, and no program text that only the start needed. What is kept in the heap is
//! everybody's own matter.

use std::ffi::{CStr, c_int, c_void};

use libc::Elf64_Phdr;

/// Tags of the dynamic section that say of relocations in text, and its end (elf(5)).
const DT_NULL: u64 = 0;
const DT_TEXTREL: u64 = 22;
const DT_FLAGS: u64 = 30;
const DF_TEXTREL: u64 = 4;

/// Lets all threads share one heap, where the system's allocator gives each its own. Before the first thread is started; the
/// audio thread does not allocate and so waits for nobody. With 256 clients it saves 0.4 MB.
pub fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number in the allocator (mallopt(3)); a refusal changes nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Lets go of the program text and constants that are mapped so far, of this program and its libraries. Whatever runs again is
/// mapped again, 64 KiB around each place, from the page cache. It is for the end of the start: command line, configuration,
/// the dynamic linker's tables and the libraries that libpipewire's modules need to ask for real-time priority lie there and are
/// not needed again.
///
/// Any thread, also while others run the same code; they wait as for the first touch of a page. Not in the middle of
/// a recording: the audio thread waits too. A breakpoint that a debugger has set is lost.
pub(crate) fn let_go_of_start() {
    // SAFETY: the callback takes no data, and does not unwind.
    unsafe { libc::dl_iterate_phdr(Some(let_go_of_text), std::ptr::null_mut()) };
}

/// What the dynamic linker calls for each loaded object; it holds its lock meanwhile, so that none is mapped or unmapped.
unsafe extern "C" fn let_go_of_text(
    object: *mut libc::dl_phdr_info,
    _size: usize,
    _data: *mut c_void,
) -> c_int {
    // SAFETY: the linker's description of one object, its name and its program headers are valid during this call.
    let (base, name, segments) = unsafe {
        let object = &*object;
        (
            object.dlpi_addr as usize,
            CStr::from_ptr(object.dlpi_name).to_bytes(),
            std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)),
        )
    };
    // The program has no name. What is no file is the kernel's.
    if !name.is_empty() && !name.starts_with(b"/") {
        return 0;
    }
    // SAFETY: the object stays loaded during this call.
    if unsafe { has_relocated_text(base, segments) } {
        return 0;
    }
    let page = rustix::param::page_size();
    let unwritten = |it: &&Elf64_Phdr| it.p_type == libc::PT_LOAD && it.p_flags & libc::PF_W == 0;
    for segment in segments.iter().filter(unwritten) {
        let start = base + segment.p_vaddr as usize;
        let first = start & !(page - 1);
        let len = (start + segment.p_memsz as usize).next_multiple_of(page) - first;
        // SAFETY: pages of a file that nobody has written to: the segment is not writable and has no relocations in it. So
        // they come back as they were when they are touched again.
        unsafe { libc::madvise(first as *mut c_void, len, libc::MADV_DONTNEED) };
    }
    0
}

/// Whether the dynamic linker wrote into segments that are not writable.
///
/// # Safety
/// The segments are those of an object that is loaded at `base`.
unsafe fn has_relocated_text(base: usize, segments: &[Elf64_Phdr]) -> bool {
    let dynamic = segments.iter().find(|it| it.p_type == libc::PT_DYNAMIC);
    let Some(dynamic) = dynamic else { return false };
    // SAFETY: the section is mapped as part of the object: pairs of tag and value.
    let entries = unsafe {
        std::slice::from_raw_parts(
            (base + dynamic.p_vaddr as usize) as *const [u64; 2],
            dynamic.p_memsz as usize / size_of::<[u64; 2]>(),
        )
    };
    let mut entries = entries.iter().take_while(|[tag, _]| *tag != DT_NULL);
    entries.any(|[tag, value]| match *tag {
        DT_TEXTREL => true,
        DT_FLAGS => value & DF_TEXTREL != 0,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    /// KiB of files' pages that this process has mapped (proc_pid_status(5)).
    fn file_pages() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|it| it.strip_prefix("RssFile:"));
        let number = line.unwrap().split_whitespace().next().unwrap();
        number.parse().unwrap()
    }

    #[test]
    fn what_is_let_go_of_comes_back_as_it_was() {
        static CONSTANTS: [u8; 1 << 20] = {
            let mut bytes = [1; 1 << 20];
            bytes[0] = 2;
            bytes
        };
        let sum = || {
            black_box(&CONSTANTS)
                .iter()
                .map(|it| u64::from(*it))
                .sum::<u64>()
        };
        assert_eq!(sum(), (1 << 20) + 1);
        let before = file_pages();
        let_go_of_start();
        let after = file_pages();
        assert!(
            after + 1024 <= before,
            "{before} KiB before, {after} KiB after"
        );
        assert_eq!(sum(), (1 << 20) + 1);
    }
}
