//! Where the linker finds the WDK's import libraries.

fn main() -> Result<(), wdk_build::ConfigError> {
    println!("cargo::rerun-if-changed=build.rs");
    for folder in wdk_build::Config::from_env_auto()?.library_paths()? {
        println!("cargo::rustc-link-search={}", folder.display());
    }
    Ok(())
}
