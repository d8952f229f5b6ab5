//! One line of a client into a [`Request`]: pure, total, and strict. What lines may cost is in [`super::connection`].

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::protocol::{By, Call, ErrorCode, ErrorObject, OfClient, Origin, Request, RequestId};

/// Longest text of an `id`, in bytes.
const MAX_ID: usize = 64;

/// Reads one line, without its newline. Unknown keys, unknown methods and wrong types are errors.
pub fn parse_request(line: &[u8]) -> Result<Request, ErrorObject> {
    let (id, call) = parse_line(line);
    let call = call?;
    let id = id.ok_or_else(|| bad("The request has no `id`."))?;
    Ok(Request { id, call })
}

/// Reads one line; the `id` also of a request that is wrong otherwise, so that the error can carry it.
pub(super) fn parse_line(line: &[u8]) -> (Option<RequestId>, Result<Call, ErrorObject>) {
    /// Of any JSON object.
    #[derive(Deserialize)]
    struct OnlyId {
        id: RequestId,
    }
    /// The whole request; `Call` cannot be read strictly beside `id`, for serde ignores unknown keys next to a flattened field.
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Whole {
        id: RequestId,
        method: String,
        #[serde(default)]
        params: Option<Value>,
    }
    let id = serde_json::from_slice::<OnlyId>(line)
        .ok()
        .map(|only| only.id)
        .filter(|id| !matches!(id, RequestId::Text(text) if text.len() > MAX_ID));
    let call = serde_json::from_slice::<Whole>(line)
        .map_err(|error| bad(&format!("The line is not a request: {error}.")))
        .and_then(|whole| match &whole.id {
            RequestId::Text(text) if text.len() > MAX_ID => {
                Err(bad("The `id` is longer than 64 bytes."))
            }
            _ => parse_call(&whole.method, whole.params),
        });
    (id, call)
}

fn parse_call(method: &str, params: Option<Value>) -> Result<Call, ErrorObject> {
    match method {
        "status" => none(method, params).map(|()| Call::Status),
        "mute" => strict(method, params).map(Call::Mute),
        "unmute" => strict(method, params).map(Call::Unmute),
        "toggle" => strict(method, params).map(Call::Toggle),
        "mute_client" => strict(method, params).map(Call::MuteClient),
        "unmute_client" => strict(method, params).map(Call::UnmuteClient),
        "clients" => none(method, params).map(|()| Call::Clients),
        "stats" => strict(method, params).map(Call::Stats),
        "watch" => strict(method, params).map(Call::Watch),
        "trace" => none(method, params).map(|()| Call::Trace),
        "lock" => none(method, params).map(|()| Call::Lock),
        "unlock" => none(method, params).map(|()| Call::Unlock),
        other => Err(bad(&format!(
            "There is no method {:?}.",
            other.chars().take(MAX_ID).collect::<String>()
        ))),
    }
    .and_then(check)
}

/// Refuses values that have the right type and make no sense.
fn check(call: Call) -> Result<Call, ErrorObject> {
    match &call {
        Call::Mute(By { origin })
        | Call::Unmute(By { origin })
        | Call::Toggle(By { origin })
        | Call::MuteClient(OfClient { origin, .. })
        | Call::UnmuteClient(OfClient { origin, .. }) => match origin {
            Origin::Cli | Origin::Hotkey | Origin::App | Origin::Headset => Ok(call),
            Origin::Desktop | Origin::Policy | Origin::Lease | Origin::Start => Err(bad(
                "This origin belongs to the daemon; a client is cli, hotkey, app or headset.",
            )),
        },
        Call::Watch(watch) => match watch.interval_ms {
            None | Some(100..=60_000) => Ok(call),
            Some(_) => Err(bad("`interval_ms` is not within 100 to 60000.")),
        },
        Call::Stats(stats) => match &stats.since {
            Some(since) if since.parse::<jiff::Timestamp>().is_err() => {
                Err(bad("`since` is not a time as RFC 3339 writes it."))
            }
            _ => Ok(call),
        },
        Call::Lock | Call::Unlock | Call::Status | Call::Clients | Call::Trace => Ok(call),
    }
}

fn strict<T: DeserializeOwned>(method: &str, params: Option<Value>) -> Result<T, ErrorObject> {
    let params = params.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    // Serde would also take a list of the values in order.
    if !params.is_object() {
        return Err(bad(&format!("The `params` of {method} are no object.")));
    }
    serde_json::from_value(params)
        .map_err(|error| bad(&format!("The `params` of {method} are wrong: {error}.")))
}

fn none(method: &str, params: Option<Value>) -> Result<(), ErrorObject> {
    match params {
        None => Ok(()),
        Some(Value::Object(map)) if map.is_empty() => Ok(()),
        Some(_) => Err(bad(&format!("{method} takes no `params`."))),
    }
}

fn bad(message: &str) -> ErrorObject {
    ErrorObject {
        code: ErrorCode::BadRequest,
        message: message.to_owned(),
        remedy: "Send one JSON object a line as docs/api.md says.".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{StatsParams, WatchParams};
    use proptest::prelude::*;

    #[test]
    fn every_call_comes_through_as_serde_writes_it() {
        let by = By {
            origin: Origin::App,
        };
        let of = OfClient {
            client: "firefox".into(),
            origin: Origin::App,
        };
        let calls = [
            Call::Status,
            Call::Mute(by.clone()),
            Call::Unmute(by.clone()),
            Call::MuteClient(of.clone()),
            Call::UnmuteClient(of),
            Call::Toggle(by),
            Call::Clients,
            Call::Stats(StatsParams {
                since: Some("2026-11-22T08:00:00Z".into()),
            }),
            Call::Watch(WatchParams {
                interval_ms: Some(100),
            }),
            Call::Trace,
        ];
        for call in calls {
            let request = Request {
                id: RequestId::Text("a".into()),
                call,
            };
            let line = serde_json::to_vec(&request).unwrap();
            assert_eq!(parse_request(&line).unwrap(), request);
        }
    }

    #[test]
    fn params_may_be_left_out() {
        let request = parse_request(br#"{"id":1,"method":"mute"}"#).unwrap();
        assert_eq!(request.call, Call::Mute(By::default()));
        assert_eq!(request.id, RequestId::Number(1));
    }

    #[test]
    fn wrong_lines_are_refused_with_the_id_that_they_have() {
        for (line, id) in [
            (r#"{"id":7,"method":"status","extra":1}"#, Some(7)),
            (r#"{"id":7,"method":"status","params":{"x":1}}"#, Some(7)),
            (
                r#"{"id":7,"method":"mute","params":{"origin":"cli","x":1}}"#,
                Some(7),
            ),
            (
                r#"{"id":7,"method":"mute","params":{"origin":"lease"}}"#,
                Some(7),
            ),
            (r#"{"id":7,"method":"mute","params":[]}"#, Some(7)),
            (r#"{"id":7,"method":"mute","params":"cli"}"#, Some(7)),
            (r#"{"id":7,"method":"explode"}"#, Some(7)),
            (r#"{"id":7,"method":7}"#, Some(7)),
            (r#"{"id":7}"#, Some(7)),
            (
                r#"{"id":7,"method":"watch","params":{"interval_ms":99}}"#,
                Some(7),
            ),
            (
                r#"{"id":7,"method":"watch","params":{"interval_ms":1e3}}"#,
                Some(7),
            ),
            (
                r#"{"id":7,"method":"stats","params":{"since":"yesterday"}}"#,
                Some(7),
            ),
            (r#"{"id":7,"method":"status"}{"#, None),
            (r#"{"id":7,"id":8,"method":"status"}"#, None),
            (r#"{"id":-1,"method":"status"}"#, None),
            (r#"{"id":null,"method":"status"}"#, None),
            (r#"{"method":"status"}"#, None),
            (r#"[]"#, None),
            ("", None),
            ("\u{0}\u{1}", None),
        ] {
            let (got, call) = parse_line(line.as_bytes());
            assert_eq!(got, id.map(RequestId::Number), "{line}");
            let error = call.unwrap_err();
            assert_eq!(error.code, ErrorCode::BadRequest, "{line}");
            assert!(parse_request(line.as_bytes()).is_err());
        }
        let long = format!(r#"{{"id":"{}","method":"status"}}"#, "x".repeat(65));
        assert!(parse_request(long.as_bytes()).is_err());
        let deep = format!(
            r#"{{"id":1,"method":"mute","params":{}"#,
            "[".repeat(60_000)
        );
        assert!(parse_request(deep.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(line in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_request(&line);
        }

        #[test]
        fn no_json_panics(line in r#"\{"id":[0-9a-z"]{1,3},"method":"[a-z]{1,6}","params":[\{\}\[\]":a-z0-9]{0,20}\}"#) {
            let _ = parse_request(line.as_bytes());
        }
    }
}
