//! Who records from real mics past TrueMute: the account of each, from one look at the system's list to the next.

use std::path::PathBuf;

use truemute_core::observed::{
    Api, Bypass, ClientState, Countermeasure, Identity, Puller, Purpose, Who,
};

use crate::driver::When;
use crate::system::{Input, Recorder, System};

/// All bypasses, those that ended included until they are forgotten.
#[derive(Debug, Default)]
pub(crate) struct Bypasses {
    seen: Vec<Seen>,
    last_id: u64,
}

#[derive(Debug)]
struct Seen {
    uid: String,
    rate: u32,
    /// When it was last seen, by the host's clock.
    looked_ns: u64,
    bypass: Bypass,
}

impl Bypasses {
    /// A look: who records now. Says whether anybody came or went.
    pub(crate) fn look(
        &mut self,
        recorders: &[Recorder],
        inputs: &[Input],
        trusted: &[String],
        system: &dyn System,
        now: When,
    ) -> bool {
        // The driver's instance outlives the agent, and the numbers of the next one's bypasses are to be others: microseconds, which
        // a double still holds exactly.
        self.last_id = self.last_id.max(now.wall_ns / 1000);
        let own = std::process::id();
        let mut changed = false;
        let mut there = Vec::new();
        for recorder in recorders.iter().filter(|recorder| recorder.pid != own) {
            for input in inputs.iter().filter(|input| !input.is_ours()) {
                if recorder.inputs.contains(&input.uid) {
                    there.push((recorder, input));
                }
            }
        }
        for seen in self
            .seen
            .iter_mut()
            .filter(|seen| seen.bypass.state != ClientState::Gone)
        {
            let still = there.iter().position(|(recorder, input)| {
                Some(recorder.pid) == seen.bypass.who.pid && input.uid == seen.uid
            });
            // What it got since the last look is known only if it is still there; half of it, on average, if not.
            match still {
                Some(at) => {
                    there.swap_remove(at);
                    seen.add(now.host_ns.saturating_sub(seen.looked_ns));
                    seen.looked_ns = now.host_ns;
                }
                None => {
                    seen.add(now.host_ns.saturating_sub(seen.looked_ns) / 2);
                    seen.bypass.state = ClientState::Gone;
                    seen.bypass.until_ns = Some(now.wall_ns);
                    changed = true;
                }
            }
        }
        for (recorder, input) in there {
            let executable = system.executable(recorder.pid);
            if executable
                .as_ref()
                .is_some_and(|path| is_trusted(trusted, path))
            {
                continue;
            }
            self.last_id += 1;
            self.seen.push(Seen {
                uid: input.uid.clone(),
                rate: input.rate,
                looked_ns: now.host_ns,
                bypass: bypass(
                    self.last_id,
                    recorder,
                    input,
                    (executable, system.names().api),
                    now.wall_ns,
                ),
            });
            changed = true;
        }
        changed
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Bypass> {
        self.seen.iter().map(|seen| seen.bypass.clone()).collect()
    }

    /// Drops those that ended.
    pub(crate) fn forget(&mut self, ids: &[u64]) {
        self.seen.retain(|seen| {
            seen.bypass.state != ClientState::Gone || !ids.contains(&seen.bypass.id)
        });
    }
}

impl Seen {
    fn add(&mut self, time_ns: u64) {
        self.bypass.duration_ns += time_ns;
        let frames = u128::from(self.bypass.duration_ns) * u128::from(self.rate) / 1_000_000_000;
        self.bypass.frames = u64::try_from(frames).unwrap_or(u64::MAX);
    }
}

fn bypass(
    id: u64,
    recorder: &Recorder,
    input: &Input,
    (executable, api): (Option<PathBuf>, Api),
    wall_ns: u64,
) -> Bypass {
    let app = name(
        executable.as_deref(),
        recorder.label.as_deref(),
        recorder.pid,
    );
    Bypass {
        id,
        who: Who {
            puller: Some(Puller {
                pid: recorder.pid,
                name: app.clone(),
            }),
            app,
            stream: recorder.label.clone().unwrap_or_default(),
            pid: Some(recorder.pid),
            identity: identity(executable.as_ref()),
            executable,
            api,
            purpose: Purpose::Recording,
        },
        state: ClientState::Running,
        real_mic: input.uid.clone(),
        through: Vec::new(),
        since_ns: wall_ns,
        until_ns: None,
        duration_ns: 0,
        frames: 0,
        frames_exact: false,
        done: Countermeasure::Reported,
        cuts: 0,
    }
}

/// The pid is the audio system's word for its own peer, and the executable is the kernel's for the pid.
pub fn identity(executable: Option<&PathBuf>) -> Identity {
    match executable {
        Some(_) => Identity::Verified,
        None => Identity::Claimed,
    }
}

/// The name for people: the executable's, or else the label's.
pub fn name(executable: Option<&std::path::Path>, label: Option<&str>, pid: u32) -> String {
    let file = executable.and_then(|path| path.file_name());
    let file = file.map(|name| name.to_string_lossy().into_owned());
    file.or_else(|| label.map(str::to_owned))
        .unwrap_or_else(|| format!("process {pid}"))
}

fn is_trusted(trusted: &[String], executable: &std::path::Path) -> bool {
    let path = executable.to_string_lossy();
    trusted
        .iter()
        .any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => path == *pattern,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated::{Mic, Simulated, VIRTUAL_MIC};

    const SECOND: u64 = 1_000_000_000;

    fn at(seconds: u64) -> When {
        When {
            host_ns: seconds * SECOND,
            wall_ns: 1_000 * SECOND + seconds * SECOND,
        }
    }

    fn recorder(pid: u32, inputs: &[&str]) -> Recorder {
        Recorder {
            pid,
            label: None,
            inputs: inputs.iter().map(|&input| input.to_owned()).collect(),
        }
    }

    #[test]
    fn an_account_from_coming_to_going() {
        let system = Simulated::new(vec![Mic::new("mic"), Mic::virtual_mic()]);
        system.set_executable(70_001, "/Applications/Spy.app/Contents/MacOS/Spy".into());
        system.set_executable(70_002, "/opt/effects/bin/effects".into());
        let inputs = system.inputs().unwrap();
        let trusted = ["/opt/effects/*".to_owned()];
        let mut bypasses = Bypasses::default();
        let mut look = |recorders: &[Recorder], when| {
            let changed = bypasses.look(recorders, &inputs, &trusted, &system, when);
            (changed, bypasses.all())
        };
        // On the virtual mic, trusted, or ourselves: no bypass.
        let honest = [
            recorder(70_001, &[VIRTUAL_MIC]),
            recorder(70_002, &["mic"]),
            recorder(std::process::id(), &["mic"]),
        ];
        assert_eq!(look(&honest, at(0)), (false, vec![]));
        let spy = [recorder(70_001, &["mic", VIRTUAL_MIC])];
        let (changed, seen) = look(&spy, at(1));
        assert!(changed);
        assert_eq!(
            (seen[0].who.app.as_str(), seen[0].who.identity),
            ("Spy", Identity::Verified)
        );
        let (changed, seen) = look(&spy, at(3));
        assert!(!changed);
        assert_eq!((seen[0].duration_ns, seen[0].frames), (2 * SECOND, 96_000));
        let (changed, seen) = look(&[], at(5));
        assert!(changed);
        assert_eq!(
            (seen[0].state, seen[0].frames),
            (ClientState::Gone, 144_000)
        );
        assert_eq!(seen[0].until_ns, Some(1_005 * SECOND));
        // It comes again: another one.
        let (_, seen) = look(&spy, at(6));
        let [first, second] = [seen[0].id, seen[1].id];
        assert_eq!([first, second], [1_001_000_001, 1_006_000_001]);
        bypasses.forget(&[first, second]);
        assert_eq!(
            bypasses
                .all()
                .iter()
                .map(|seen| seen.id)
                .collect::<Vec<_>>(),
            [second]
        );
    }
}
