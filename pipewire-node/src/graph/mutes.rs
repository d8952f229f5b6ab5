//! The mute flags of real mics, on the wire: read from what the server tells, and made to be set. A mic of a sound card has its
//! flag in a route of the card (then its switch and LED follow), any other in its node's own properties. Who is to be muted is
//! decided in `guard/silence.rs`.

use std::io::Cursor;

use pipewire::spa::{
    pod::{Object, Pod, PodObject, Property, Value, serialize::PodSerializer},
    sys as spa_sys,
    utils::Id,
};

/// A route of a card that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// The route's number.
    pub(crate) index: i32,
    /// The card's own number for what nodes know as `card.profile.device`.
    pub(crate) device: i32,
    /// Whether it is muted.
    pub(crate) muted: bool,
}

/// The mute flag in a node's `Props`, if it has one.
pub(crate) fn flag_in_props(param: &Pod) -> Option<bool> {
    flag(param.as_object().ok()?)
}

/// A card's `Route` with a mute flag, if it is one.
pub(crate) fn route(param: &Pod) -> Option<Route> {
    let object = param.as_object().ok()?;
    let number = |key| object.find_prop(Id(key))?.value().get_int().ok();
    let props = object.find_prop(Id(spa_sys::SPA_PARAM_ROUTE_props))?;
    Some(Route {
        index: number(spa_sys::SPA_PARAM_ROUTE_index)?,
        device: number(spa_sys::SPA_PARAM_ROUTE_device)?,
        muted: flag(props.value().as_object().ok()?)?,
    })
}

fn flag(object: &PodObject) -> Option<bool> {
    let flag = object.find_prop(Id(spa_sys::SPA_PROP_mute))?;
    flag.value().get_bool().ok()
}

/// A `Props` that sets a node's mute flag and nothing else. A virtual source that is a sink inside gives its sound out by monitor
/// ports, which have a flag of their own (spa/plugins/audioconvert/audioconvert.c of 0.3.65 and 1.4.2): it goes along.
pub(crate) fn props_with(muted: bool) -> Vec<u8> {
    let mut props = props(spa_sys::SPA_PARAM_Props, muted);
    let monitor = Property::new(spa_sys::SPA_PROP_monitorMute, Value::Bool(muted));
    props.properties.push(monitor);
    bytes(&Value::Object(props))
}

/// A `Route` that sets the mute flag of `route`. Not saved: the session manager is not to bring it back another day.
pub(crate) fn route_with(route: Route, muted: bool) -> Vec<u8> {
    let props = props(spa_sys::SPA_PARAM_Route, muted);
    let properties = vec![
        Property::new(spa_sys::SPA_PARAM_ROUTE_index, Value::Int(route.index)),
        Property::new(spa_sys::SPA_PARAM_ROUTE_device, Value::Int(route.device)),
        Property::new(spa_sys::SPA_PARAM_ROUTE_props, Value::Object(props)),
        Property::new(spa_sys::SPA_PARAM_ROUTE_save, Value::Bool(false)),
    ];
    bytes(&Value::Object(Object {
        type_: spa_sys::SPA_TYPE_OBJECT_ParamRoute,
        id: spa_sys::SPA_PARAM_Route,
        properties,
    }))
}

fn props(id: u32, muted: bool) -> Object {
    Object {
        type_: spa_sys::SPA_TYPE_OBJECT_Props,
        id,
        properties: vec![Property::new(spa_sys::SPA_PROP_mute, Value::Bool(muted))],
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    let written = PodSerializer::serialize(Cursor::new(Vec::new()), value);
    // Writing into memory does not fail; an empty param is one that nobody takes.
    written.map_or_else(|_| Vec::new(), |(written, _)| written.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_what_is_read() {
        for muted in [true, false] {
            let props = props_with(muted);
            let param = Pod::from_bytes(&props).expect("a pod");
            assert_eq!(flag_in_props(param), Some(muted));
            assert_eq!(route(param), None);
            let wanted = Route {
                index: 3,
                device: 7,
                muted,
            };
            let set = route_with(wanted, muted);
            let param = Pod::from_bytes(&set).expect("a pod");
            assert_eq!(route(param), Some(wanted));
            assert_eq!(flag_in_props(param), None);
        }
    }

    #[test]
    fn what_is_no_flag_is_none() {
        for value in [Value::Int(1), Value::Bool(true), Value::None] {
            let pod = bytes(&value);
            let param = Pod::from_bytes(&pod).expect("a pod");
            assert_eq!((flag_in_props(param), route(param)), (None, None));
        }
        let odd = bytes(&Value::Object(Object {
            type_: spa_sys::SPA_TYPE_OBJECT_Props,
            id: spa_sys::SPA_PARAM_Props,
            properties: vec![Property::new(spa_sys::SPA_PROP_mute, Value::Int(1))],
        }));
        assert_eq!(flag_in_props(Pod::from_bytes(&odd).expect("a pod")), None);
    }
}
