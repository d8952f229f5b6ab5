//! On what machine a run was made, and what else that machine was doing.

use std::fs;

use serde::Serialize;

use crate::Result;
use crate::rival::Ground;

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// As `pipewire --version` says.
    pub(crate) pipewire: String,
    pub(crate) truemute: String,
    /// Processes that ran or wanted to, on average of a minute: before the run and after it.
    pub(crate) load: (f64, f64),
    /// Share of time in which something else than idling went on, over all cores and the whole run, and share that the host
    /// took away; this benchmark included.
    pub(crate) in_use: f64,
    pub(crate) stolen: f64,
    #[serde(skip)]
    times: Times,
}

impl Machine {
    pub(crate) fn look(ground: &Ground) -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split_once(": "));
        let kernel = rustix::system::uname();
        let load = load()?;
        Ok(Self {
            processor: model.map_or("unknown", |(_, name)| name).to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            kernel: kernel.release().to_string_lossy().into_owned(),
            pipewire: ground.pipewire_version()?,
            truemute: ground.truemute_version()?,
            load: (load, load),
            in_use: 0.0,
            stolen: 0.0,
            times: Times::now()?,
        })
    }

    /// The run is over.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let now = Times::now()?;
        let share = |part: u64, before: u64| {
            let whole = now.all.saturating_sub(self.times.all).max(1);
            part.saturating_sub(before) as f64 / whole as f64
        };
        self.in_use = 1.0 - share(now.idle, self.times.idle);
        self.stolen = share(now.stolen, self.times.stolen);
        self.load.1 = load()?;
        Ok(())
    }
}

fn load() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_whitespace().next().unwrap_or("").parse()?)
}

/// Clock ticks of all cores together since the machine started.
#[derive(Debug)]
struct Times {
    all: u64,
    idle: u64,
    stolen: u64,
}

impl Times {
    /// From the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal (proc(5)).
    fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().unwrap_or("");
        let ticks = line.split_whitespace().skip(1).take(8).map(str::parse);
        let ticks = ticks.collect::<std::result::Result<Vec<u64>, _>>()?;
        let [_, _, _, idle, waiting, _, _, stolen] = ticks[..] else {
            return Err("/proc/stat has another form".into());
        };
        Ok(Self {
            all: ticks.iter().sum(),
            idle: idle + waiting,
            stolen,
        })
    }
}
