//! From what pulls are counted: the clients' activation records, or the server's profiler where these cannot be believed.

use super::{Engine, Parts};
use crate::{
    count::layout::Verdict,
    engine::{Counting, estimate::Estimate, sides::Tables},
    monotonic::monotonic_ns,
};

impl Engine {
    /// Looks whether the real-time thread has judged the activation records, and counts from the profiler where they
    /// cannot be counted from, or where the configuration says so.
    pub(super) fn choose_counter(&mut self) {
        let wants_profiler = match (self.verdict, self.parts.options.counting) {
            (Verdict::Open, Counting::Profiler) => true,
            (Verdict::Open, Counting::Auto) if self.streaming => {
                self.verdict = self
                    .parts
                    .data_loop
                    .run(|cycle| cycle.verdict())
                    .unwrap_or(Verdict::Open);
                matches!(self.verdict, Verdict::Refused(_))
            }
            _ => false,
        };
        if wants_profiler {
            let why = match self.verdict {
                Verdict::Refused(misfit) => misfit.to_string(),
                _ => "the configuration says so".to_owned(),
            };
            // Decided once: also a profiler that cannot be had is not asked for again.
            self.verdict = Verdict::Trusted;
            match self.estimate() {
                Ok(()) => tracing::warn!("pulls are estimated from the server's profiler: {why}"),
                Err(error) => tracing::error!("pulls cannot be counted: {why}, and {error}"),
            }
        }
    }

    fn estimate(&mut self) -> Result<(), String> {
        let Parts {
            clients,
            data_loop,
            watch,
            model,
            plan,
            ..
        } = &mut self.parts;
        let profiler = model
            .borrow()
            .profiler
            .ok_or("the server has no profiler")?;
        let (estimate, cycles) =
            Estimate::start(data_loop.context(), watch, profiler, plan.inbox.clone())
                .map_err(|error| error.to_string())?;
        data_loop.run(|cycle| cycle.tell_cycles(cycles));
        let tables = Tables {
            mic: data_loop,
            aside: self.keeper.data_loop(),
        };
        clients.estimate(estimate, monotonic_ns(), &tables);
        if let Some(trace) = clients.estimated_trace() {
            trace.switch(self.single_pulls.are_wanted());
        }
        Ok(())
    }
}
