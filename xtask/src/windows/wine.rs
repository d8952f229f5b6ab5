//! The `wine` step: the real driver and the real program, under Wine 10 in a Debian 13 of its own (tests/tests/wine.rs).

use std::fs;
use std::time::Duration;

use anyhow::Result;

use super::build::{self, Arch, Tools, build_driver};
use super::inf;
use crate::cross::Grade;
use crate::other_debian::{self, Release};
use crate::step::Run;
use crate::tally::Tally;

const LIMIT: Duration = Duration::from_secs(20 * 60);

pub(crate) fn test(run: &mut Run<'_>) -> Result<Tally> {
    let Some(root) = other_debian::whole(run.workspace, Release::Wine) else {
        return Ok(Tally::skip(
            "all",
            "its root could not be made; setup says why",
        ));
    };
    let tools = match Tools::find().and_then(|tools| build::mingw().map(|_| tools)) {
        Ok(tools) => tools,
        Err(missing) => return Ok(Tally::skip("all", missing)),
    };
    let driver = build_driver(run, &tools, Arch::X64)?;
    let built = build::folder(run.workspace).join("wine");
    fs::create_dir_all(&built)?;
    fs::copy(&driver.file, built.join("truemute.sys"))?;
    fs::copy(inf::path(run.workspace), built.join("truemute.inf"))?;
    let program = build::build_program(run, &tools.rust, Grade::Quick)?;
    fs::copy(program, built.join("truemute.exe"))?;
    let mut command = run
        .workspace
        .cargo("test --package truemute-tests --test wine --locked -- --show-output");
    command
        .env("TRUEMUTE_WINE_ROOT", root)
        .env("TRUEMUTE_WINDOWS_BUILT", built);
    run.tests(command, LIMIT)
}
