//! The driver's instructions, as LLVM's disassembler lists them: which registers they use.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::build::Arch;

/// The instructions of a file, one a line.
pub(super) fn listing(objdump: &Path, file: &Path) -> Result<String> {
    let output = Command::new(objdump)
        .args(["--disassemble", "--no-show-raw-insn"])
        .arg(file)
        .output()
        .with_context(|| format!("cannot start {}", objdump.display()))?;
    ensure!(
        output.status.success(),
        "{} cannot read {}: {}",
        objdump.display(),
        file.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Windows saves the 128-bit registers of SSE for a driver on x64, not the wider ones and not what AVX changes of them ("Using extended
/// processor features in Windows drivers"); on ARM64 it saves NEON's. Floating point is nowhere in our driver by design.
pub(super) fn check(listing: &str, arch: Arch) -> Result<()> {
    let instructions = listing.lines().filter_map(instruction);
    let mut seen = 0;
    for (name, operands) in instructions {
        seen += 1;
        let refused = match arch {
            Arch::X64 => {
                ["ymm", "zmm", "%st", "%mm", "%k"]
                    .iter()
                    .any(|it| operands.contains(it))
                    || (name.starts_with('v') && operands.contains("xmm"))
                    || is_sse_arithmetic(name)
            }
            // No instruction of whole numbers begins with f, but for the move that counting bits takes; z and p are SVE's registers.
            Arch::Arm64 => {
                (name.starts_with('f') && name != "fmov")
                    || name.ends_with("cvtf")
                    || operands.split([',', ' ', '{', '[', '/']).any(is_sve)
            }
        };
        ensure!(!refused, "it has `{name} {operands}`");
    }
    ensure!(seen > 100, "its listing has {seen} instructions only");
    Ok(())
}

/// `1400010a0: movq %rax, %rbx` in its parts.
fn instruction(line: &str) -> Option<(&str, &str)> {
    let (address, rest) = line.trim_start().split_once(':')?;
    u64::from_str_radix(address, 16).ok()?;
    let rest = rest.trim();
    let (name, operands) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    (!name.is_empty()).then_some((name, operands.trim()))
}

/// SSE's arithmetic of floating point ends in what it works on: scalars or packs of single or double precision. Moves and logic do too, and
/// compilers use those for whole numbers and copies.
fn is_sse_arithmetic(name: &str) -> bool {
    let works = [
        "add", "sub", "mul", "div", "sqrt", "min", "max", "cmp", "comi", "ucomi", "round",
    ];
    let kinds = ["ss", "sd", "ps", "pd"];
    name.starts_with("cvt")
        || kinds.iter().any(|kind| {
            let stem = name.strip_suffix(kind);
            stem.is_some_and(|stem| works.contains(&stem))
        })
}

/// `z0.b`, `p3`: the registers of ARM's scalable vectors.
fn is_sve(word: &str) -> bool {
    let number = word.strip_prefix(['z', 'p']).unwrap_or("");
    let number = number.split('.').next().unwrap_or("");
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_plain(instruction: &str, arch: Arch) -> Result<()> {
        let plain = "180001000: \tmovq\t%rax, %rbx\n".repeat(200);
        check(&format!("{plain}180002000: \t{instruction}\n"), arch)
    }

    #[test]
    fn ordinary_instructions_pass() {
        for instruction in [
            "movups\t%xmm0, (%rcx)",
            "xorps\t%xmm0, %xmm0",
            "cmpq\t$1, %rax",
        ] {
            after_plain(instruction, Arch::X64).unwrap();
        }
        for instruction in [
            "str\tq0, [x1]",
            "ldp\tx29, x30, [sp], #16",
            "prfm\tpldl1keep, [x0]",
            "fmov\tw9, s0",
        ] {
            after_plain(instruction, Arch::Arm64).unwrap();
        }
    }

    #[test]
    fn what_the_kernel_does_not_save_is_refused() {
        for instruction in [
            "vmovups\t%ymm0, (%rcx)",
            "vpxor\t%xmm0, %xmm0, %xmm0",
            "vmovdqu64\t(%rax), %zmm3",
            "fldt\t(%rax), %st(0)",
            "cvtsi2sd\t%rax, %xmm0",
            "mulsd\t%xmm1, %xmm0",
        ] {
            after_plain(instruction, Arch::X64).unwrap_err();
        }
        for instruction in [
            "fmul\td0, d0, d1",
            "scvtf\td0, x0",
            "ld1b\t{ z0.b }, p0/z, [x0]",
        ] {
            after_plain(instruction, Arch::Arm64).unwrap_err();
        }
    }

    #[test]
    fn a_listing_that_could_not_be_read_is_no_pass() {
        check("truemute.sys: file format coff-x86-64\n", Arch::X64).unwrap_err();
    }
}
