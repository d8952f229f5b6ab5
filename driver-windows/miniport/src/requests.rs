//! What the control device's requests do: bytes in, bytes out. Pure: who asks is a [`Caller`], and the system's part of it is in
//! `kernel/control_device.rs`.

use crate::device::{Caller, Device, Refused};
use truemute_windows_interface::Request;
use truemute_windows_interface::record::{self, split_feed};

/// Answers one request. `buffer` is what the I/O manager made of both buffers (`METHOD_BUFFERED`): it holds the input's
/// `input_bytes`, and the answer of `output_bytes` is written into its beginning. Says how many bytes were written.
///
/// # Errors
/// A wrong code, length or field, or a caller that may not: then nothing was done, and nothing written. Only that the feeder
/// is it no more if it may not be, which is a mute, holds for every request.
pub fn answer(
    device: &mut Device,
    now_ns: u64,
    caller: Caller,
    code: u32,
    buffer: &mut [u8],
    input_bytes: usize,
    output_bytes: usize,
) -> Result<usize, Refused> {
    let Caller { handle, may_feed } = caller;
    if !may_feed {
        // Before anything else, also for a request that is none: whoever left the console must not keep the gate open.
        device.detach(handle);
    }
    let request = Request::of_code(code).ok_or(Refused::Unknown)?;
    if !device.is_present() {
        return Err(Refused::Gone);
    }
    if output_bytes != request.output_bytes() {
        return Err(Refused::Malformed);
    }
    let input = buffer.get(..input_bytes).ok_or(Refused::Malformed)?;
    if request != Request::Feed && input.len() != request.input_bytes() {
        return Err(Refused::Malformed);
    }
    // An output that does not fit, which the I/O manager never makes, has to be found before anything is done.
    if buffer.len() < output_bytes {
        return Err(Refused::Malformed);
    }
    macro_rules! write {
        ($record:expr) => {{
            let record = $record;
            let output = buffer.get_mut(..output_bytes).ok_or(Refused::Malformed)?;
            if !record.encode(output) {
                return Err(Refused::Malformed);
            }
        }};
    }
    if !may_feed && (request == Request::Attach || request.feeders_only()) {
        return Err(Refused::NotFeeder);
    }
    match request {
        Request::Version => write!(device.version()),
        Request::Attach => {
            let attach = record::Attach::decode(input).ok_or(Refused::Malformed)?;
            device.attach(handle, attach)?;
        }
        Request::Feed => {
            let (head, frames) = split_feed(input).ok_or(Refused::Malformed)?;
            device.feed(now_ns, handle, head, frames)?;
        }
        Request::RenewLease => write!(device.renew(now_ns, handle)?),
        Request::Mute => write!(device.mute(now_ns)),
        Request::Unmute => write!(device.unmute(now_ns, handle)?),
        Request::Clock => write!(device.anchor(now_ns)),
        Request::Snapshot => write!(device.snapshot(now_ns, handle)),
    }
    Ok(output_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Handle;
    use crate::device::stage::{AGENT, OTHER, PACKET, Stage, ZEROS, assert_silent, loud};
    use proptest::prelude::*;
    use truemute_windows_interface::{ATTACHED_HERE, VERSION};

    /// Who sits at the console.
    fn here(handle: Handle) -> Caller {
        Caller {
            handle,
            may_feed: true,
        }
    }

    /// Who has left it.
    fn away(handle: Handle) -> Caller {
        Caller {
            handle,
            may_feed: false,
        }
    }

    fn ask(
        stage: &mut Stage,
        caller: Caller,
        request: Request,
        input: &[u8],
        output: usize,
    ) -> Result<Vec<u8>, Refused> {
        let mut buffer = input.to_vec();
        buffer.resize(input.len().max(output), 0xcc);
        let bytes = answer(
            &mut stage.device,
            stage.now_ns,
            caller,
            request.code(),
            &mut buffer,
            input.len(),
            output,
        )?;
        Ok(buffer[..bytes].to_vec())
    }

    fn attach(version: u32) -> Vec<u8> {
        [version, 0].map(u32::to_le_bytes).as_flattened().to_vec()
    }

    #[test]
    fn a_wrong_length_does_nothing() {
        let (mut stage, _) = loud();
        for request in Request::ALL {
            let (input, output) = (vec![0; request.input_bytes()], request.output_bytes());
            for (input, output) in [(&[&input[..], &[0]].concat(), output), (&input, output + 1)] {
                assert_eq!(
                    ask(&mut stage, here(AGENT), request, input, output),
                    Err(Refused::Malformed),
                    "{request:?}"
                );
            }
            if output > 0 {
                assert_eq!(
                    ask(&mut stage, here(AGENT), request, &input, output - 1),
                    Err(Refused::Malformed)
                );
            }
        }
        assert_eq!(stage.snapshot().open, 1, "even the mute was none");
    }

    #[test]
    fn only_the_feeder_feeds_and_unmutes_and_anybody_mutes() {
        let (mut stage, _) = loud();
        for request in Request::ALL {
            let mut input = vec![0; request.input_bytes()];
            if request == Request::Attach {
                input = attach(VERSION);
            } else if request == Request::Feed {
                input[24] = 1;
                input.extend([0; 8]);
            }
            let answer = ask(
                &mut stage,
                here(OTHER),
                request,
                &input,
                request.output_bytes(),
            );
            match request {
                Request::Feed | Request::RenewLease | Request::Unmute => {
                    assert_eq!(answer, Err(Refused::NotFeeder))
                }
                Request::Attach => assert_eq!(answer, Err(Refused::Busy)),
                _ => assert_eq!(answer.unwrap().len(), request.output_bytes()),
            }
        }
        assert_eq!(stage.snapshot().open, 0, "it was muted");
        assert_silent(&mut stage);
    }

    #[test]
    fn another_version_does_not_attach() {
        let mut stage = Stage::running(2);
        assert_eq!(
            ask(
                &mut stage,
                here(AGENT),
                Request::Attach,
                &attach(VERSION + 1),
                0
            ),
            Err(Refused::Version)
        );
        assert_eq!(
            ask(&mut stage, here(AGENT), Request::Unmute, &[], 24),
            Err(Refused::NotFeeder)
        );
        assert_eq!(
            ask(
                &mut stage,
                here(AGENT),
                Request::Attach,
                &attach(VERSION),
                0
            ),
            Ok(vec![])
        );
        assert_eq!(
            ask(
                &mut stage,
                here(AGENT),
                Request::Attach,
                &attach(VERSION),
                0
            ),
            Ok(vec![]),
            "twice is once"
        );
        assert_eq!(
            ask(&mut stage, here(AGENT), Request::Unmute, &[], 24)
                .unwrap()
                .len(),
            24
        );
    }

    /// What a snapshot asked for by this handle says of the feeder.
    fn attached(stage: &mut Stage, handle: Handle) -> u32 {
        let bytes = Request::Snapshot.output_bytes();
        let answer = ask(stage, here(handle), Request::Snapshot, &[], bytes).unwrap();
        record::Snapshot::decode(&answer).unwrap().attached
    }

    #[test]
    fn a_feeder_that_has_left_the_console_is_none_whatever_it_asks() {
        for request in Request::ALL {
            let (mut stage, _) = loud();
            assert_eq!(attached(&mut stage, AGENT), ATTACHED_HERE);
            assert_eq!(attached(&mut stage, OTHER), 1);
            let mut input = vec![0; request.input_bytes()];
            if request == Request::Attach {
                input = attach(VERSION);
            } else if request == Request::Feed {
                input[24] = 1;
                input.extend([0; 8]);
            }
            let room = request.output_bytes();
            let answer = ask(&mut stage, away(AGENT), request, &input, room);
            let speaks = request == Request::Attach || request.feeders_only();
            assert_eq!(
                answer.err(),
                speaks.then_some(Refused::NotFeeder),
                "{request:?}"
            );
            assert_silent(&mut stage);
            assert_eq!(attached(&mut stage, AGENT), 0, "{request:?}");
            // The next one at the console can be the feeder at once, and so can who comes back.
            for next in [OTHER, AGENT] {
                ask(&mut stage, here(next), Request::Attach, &attach(VERSION), 0).unwrap();
                ask(&mut stage, here(next), Request::Unmute, &[], 24).unwrap();
                assert_eq!(attached(&mut stage, next), ATTACHED_HERE);
                stage.device.detach(next);
            }
        }
        // Also by a request that is none.
        let (mut stage, _) = loud();
        let wrong = ask(&mut stage, away(AGENT), Request::Clock, &[0], 24);
        assert_eq!(wrong, Err(Refused::Malformed));
        assert_silent(&mut stage);
    }

    #[test]
    fn who_is_not_at_the_console_does_not_disturb_the_feeder() {
        let (mut stage, _) = loud();
        ask(
            &mut stage,
            away(OTHER),
            Request::Attach,
            &attach(VERSION),
            0,
        )
        .unwrap_err();
        ask(&mut stage, away(OTHER), Request::Clock, &[], 24).unwrap();
        assert_eq!(stage.snapshot().open, 1);
        assert_eq!(attached(&mut stage, AGENT), ATTACHED_HERE);
    }

    proptest! {
        /// Any requests by anybody, in any order: nothing panics, and without the feeder's unmute all is zeros.
        #[test]
        fn nonsense_opens_nothing(
            steps in prop::collection::vec((any::<u8>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..120), 0..260_usize, 0..30_000_000_u64), 0..60),
        ) {
            let mut stage = Stage::running(2);
            for (code, known, bytes, output, wait_ns) in steps {
                let request = Request::ALL[usize::from(code) % Request::ALL.len()];
                let code = if known { request.code() } else { u32::from(code) << 13 };
                let mut buffer = bytes.clone();
                buffer.resize(bytes.len().max(output), 0);
                // Half of them of the length that is right.
                let (input, output) = if wait_ns % 2 == 0 {
                    buffer.resize(300, 3);
                    (request.input_bytes(), request.output_bytes())
                } else {
                    (bytes.len(), output)
                };
                if request == Request::Unmute && known {
                    continue;
                }
                let _ = answer(&mut stage.device, stage.now_ns, here(AGENT), code, &mut buffer, input, output);
                stage.wait(wait_ns);
                prop_assert_eq!(stage.buffer(), vec![ZEROS; 2 * PACKET]);
            }
        }
    }
}
