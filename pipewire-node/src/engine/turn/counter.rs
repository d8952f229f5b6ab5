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
        let counting = self.parts.options.counting;
        if (self.verdict, counting) == (Verdict::Open, Counting::Auto) && self.streaming {
            let verdict = self.parts.data_loop.run(|cycle| cycle.verdict());
            self.verdict = verdict.unwrap_or(Verdict::Open);
        }
        if let Some(why) = why_estimate(self.verdict, counting) {
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

/// Why pulls are to be counted from the profiler, if they are. What was decided is [`Verdict::Trusted`].
fn why_estimate(verdict: Verdict, counting: Counting) -> Option<String> {
    match (verdict, counting) {
        (Verdict::Refused(misfit), _) => Some(misfit.to_string()),
        (Verdict::Open, Counting::Profiler) => Some("the configuration says so".to_owned()),
        (Verdict::Open, Counting::Auto) | (Verdict::Trusted, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count::layout::Misfit;

    #[test]
    fn the_profiler_takes_over_where_records_do_not_check_out() {
        let refused = Verdict::Refused(Misfit::Status);
        for (verdict, counting, estimated) in [
            (Verdict::Open, Counting::Auto, false),
            (Verdict::Trusted, Counting::Auto, false),
            (refused, Counting::Auto, true),
            (Verdict::Open, Counting::Profiler, true),
            (Verdict::Trusted, Counting::Profiler, false),
            (refused, Counting::Profiler, true),
        ] {
            let why = why_estimate(verdict, counting);
            assert_eq!(why.is_some(), estimated, "{verdict:?} {counting:?} {why:?}");
        }
        let why = why_estimate(refused, Counting::Auto);
        assert_eq!(why, Some(Misfit::Status.to_string()));
    }
}
