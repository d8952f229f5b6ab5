//! The driver, linked against a Windows Driver Kit. All that it does is `truemute-miniport`'s; here is what the compiler can hold
//! against Microsoft's own headers, which wdk-sys generates its bindings from: [`layouts`] and [`functions`]. It runs no code.
//!
//! Not in wdk-sys: PortCls and kernel streaming. Of those `truemute-miniport` keeps its own declarations and imports. Nor is wdk-alloc here,
//! for the driver allocates nothing, nor wdk-panic, whose handler would let a driver link that can panic.
#![no_std]

mod functions;
mod layouts;
