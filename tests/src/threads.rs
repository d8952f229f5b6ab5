//! The threads of a process, as the kernel shows them (proc(5)).

use std::fs;
use std::path::Path;

use truemute::demo::RunningDaemon;

/// One thread.
#[derive(Clone, Debug)]
pub struct Thread {
    /// Its id.
    pub id: u32,
    /// Its name, at most 15 bytes.
    pub name: String,
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
    let threads = of_process(daemon.id());
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
        policy: field(41)?,
        priority: field(40)?,
        nice: word(19)?.parse().ok()?,
        waits: waits.trim().parse().ok()?,
    })
}
