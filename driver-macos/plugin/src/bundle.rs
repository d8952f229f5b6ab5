//! That `bundle/Info.plist` and the code say the same: CFPlugIn finds the plug-in by nothing else.

#[test]
fn the_property_list_names_the_factory_the_type_and_the_version() {
    let list = include_str!("../bundle/Info.plist");
    let words: Vec<_> = list
        .split(['<', '>'])
        .map(str::trim)
        .filter(|word| !word.is_empty() && !word.starts_with('/'))
        .collect();
    let after = |key: &str| {
        let mut rest = words.iter().skip_while(|word| **word != key).skip(1);
        rest.find(|word| !["key", "string", "dict", "array"].contains(word))
            .copied()
    };
    let uuid = after("CFPlugInFactories").expect("a factory");
    assert_eq!(after(uuid), Some("TrueMute_Create"));
    let kind = after("CFPlugInTypes").expect("a type");
    assert_eq!(after(kind), Some(uuid));
    let digits: String = kind.chars().filter(|digit| *digit != '-').collect();
    assert_eq!(
        u128::from_str_radix(&digits, 16).map(u128::to_be_bytes),
        Ok(crate::abi::UuidBytes::PLUG_IN_TYPE.0)
    );
    assert_eq!(after("AudioServerPlugIn_Network"), Some("true/"));
    for key in ["CFBundleVersion", "CFBundleShortVersionString"] {
        assert_eq!(after(key), Some(env!("CARGO_PKG_VERSION")));
    }
}
