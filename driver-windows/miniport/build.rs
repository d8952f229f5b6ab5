//! What the linker is told for a driver of the kernel: no library of user mode, the native subsystem of Windows 10, and the entry that the
//! system calls. Only where the linker is Microsoft's or LLVM's in its place.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ENV").as_deref() != Ok("msvc") {
        return;
    }
    let arguments = [
        "/NODEFAULTLIB",
        "/SUBSYSTEM:NATIVE,10.00",
        "/DRIVER:WDM",
        "/ENTRY:DriverEntry",
        "/DYNAMICBASE",
        "/NXCOMPAT",
    ];
    for argument in arguments {
        println!("cargo::rustc-cdylib-link-arg={argument}");
    }
}
