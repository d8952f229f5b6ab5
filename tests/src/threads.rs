//! The threads of a process, as the kernel shows them (proc(5)), and how to stop a single one.

use std::fs;
use std::io;
use std::marker::PhantomData;
use std::path::Path;
use std::ptr;
use std::time::Duration;

use truemute::demo::RunningDaemon;

use crate::recorder::wait_until;

/// One thread.
#[derive(Clone, Debug)]
pub struct Thread {
    /// Its id.
    pub id: u32,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// What it does now: `R`, `S`, `D`, `T` and so on.
    pub state: char,
    /// Its scheduling policy; 1 and 2 are the real-time ones, FIFO and RR (sched(7)).
    pub policy: u32,
    /// Its real-time priority; 0 without.
    pub priority: u32,
    /// Its nice value: -20 goes first among ordinary threads, 19 last.
    pub nice: i32,
    /// How often it has gone to sleep by itself.
    pub waits: u64,
}

impl Thread {
    /// Whether it runs under a real-time policy.
    pub fn is_real_time(&self) -> bool {
        [1, 2].contains(&self.policy) && self.priority > 0
    }
}

/// A thread that stands still while all others of its process go on, as if it hung: stopped by ptrace(2), for a signal
/// would stop them all. It goes on when this is dropped. Bound to the thread that stopped it.
#[derive(Debug)]
pub struct Frozen(libc::pid_t, PhantomData<*const ()>);

impl Frozen {
    /// Stops the thread with this id and returns when it stands.
    ///
    /// # Errors
    /// The kernel does not allow it.
    pub fn thread(id: u32) -> io::Result<Self> {
        let id = id.cast_signed();
        let request = |request| {
            // SAFETY: neither request reads or writes memory of ours.
            match unsafe { libc::ptrace(request, id, ptr::null_mut::<u8>(), ptr::null_mut::<u8>()) }
            {
                -1 => Err(io::Error::last_os_error()),
                _ => Ok(()),
            }
        };
        request(libc::PTRACE_SEIZE)?;
        let frozen = Self(id, PhantomData);
        request(libc::PTRACE_INTERRUPT)?;
        // SAFETY: no status is asked for.
        match unsafe { libc::waitpid(id, ptr::null_mut(), libc::__WALL) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(frozen),
        }
    }
}

impl Frozen {
    /// Waits at most `limit` until the thread was killed; says whether it was. Whoever stopped a thread has to see its end,
    /// or its process never ends for its parent (ptrace(2)).
    pub fn wait_until_killed(self, limit: Duration) -> bool {
        wait_until(limit, || {
            // SAFETY: no status is asked for.
            let ended =
                unsafe { libc::waitpid(self.0, ptr::null_mut(), libc::__WALL | libc::WNOHANG) };
            ended == self.0
        })
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // SAFETY: reads and writes no memory of ours. Fails if the process was killed meanwhile, which ends the tracing too.
        unsafe {
            libc::ptrace(
                libc::PTRACE_DETACH,
                self.0,
                ptr::null_mut::<u8>(),
                ptr::null_mut::<u8>(),
            );
        }
    }
}

/// All threads of a process, in the order in which they were started.
pub fn of_process(process: u32) -> Vec<Thread> {
    let tasks = fs::read_dir(format!("/proc/{process}/task"));
    let mut threads: Vec<_> = tasks
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|task| read(&task.path()))
        .collect();
    threads.sort_by_key(|thread| thread.id);
    threads
}

/// The thread on which the daemon's audio callbacks run. PipeWire 1.x names it; in 0.3 it has the name of the thread that
/// started it.
///
/// # Panics
/// If there is none.
pub fn audio_thread(daemon: &RunningDaemon) -> Thread {
    audio_thread_of(daemon.id())
}

/// The same for a daemon that is known by its process id.
///
/// # Panics
/// If there is none.
pub fn audio_thread_of(daemon: u32) -> Thread {
    let threads = of_process(daemon);
    let named = |start: &str| {
        let found = threads.iter().filter(|it| it.name.starts_with(start));
        found.cloned().collect::<Vec<_>>()
    };
    let (loops, graph) = (named("data-loop"), named("truemute-graph"));
    match (&loops[..], &graph[..]) {
        ([audio], _) | ([], [_, audio]) => audio.clone(),
        _ => panic!("which is the audio thread? {threads:?}"),
    }
}

fn read(task: &Path) -> Option<Thread> {
    let text = |file: &str| fs::read_to_string(task.join(file)).ok();
    let stat = text("stat")?;
    // The name may hold spaces; it ends with the last parenthesis, and field 3 follows.
    let (_, rest) = stat.rsplit_once(')')?;
    let word = |number: usize| rest.split_whitespace().nth(number - 3);
    let field = |number: usize| word(number)?.parse().ok();
    let status = text("status")?;
    let waits = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
    Some(Thread {
        id: task.file_name()?.to_str()?.parse().ok()?,
        name: text("comm")?.trim().to_owned(),
        state: word(3)?.chars().next()?,
        policy: field(41)?,
        priority: field(40)?,
        nice: word(19)?.parse().ok()?,
        waits: waits.trim().parse().ok()?,
    })
}
