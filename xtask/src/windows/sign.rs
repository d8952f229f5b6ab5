//! A test signature by osslsigncode. The key is made for one archive and thrown away with it; the certificate goes into the archive.
//! It says nothing of who made the driver: Windows loads it in test mode only, on machines whose owner trusts that certificate.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::pe;
use crate::report::Tail;
use crate::step::Run;
use crate::workspace::program;

const LIMIT: Duration = Duration::from_secs(120);

/// The signing program, with a certificate of its own.
pub(super) struct Signer {
    program: PathBuf,
    key: PathBuf,
    /// For people to trust, if they want to try the driver.
    pub(super) certificate: PathBuf,
}

impl Signer {
    /// Makes a key and its certificate in `folder`. The error is why there is none.
    pub(super) fn new(run: &mut Run<'_>, folder: &Path) -> Result<Self> {
        let find = |name: &str| {
            program(name)
                .with_context(|| format!("there is no {name} (Debian: the package {name})"))
        };
        let (signer, openssl) = (find("osslsigncode")?, find("openssl")?);
        fs::create_dir_all(folder)?;
        let (key, certificate) = (folder.join("key.pem"), folder.join("truemute-test.cer"));
        let mut command = Command::new(openssl);
        command
            .args("req -x509 -newkey rsa:3072 -noenc -sha256 -days 365".split(' '))
            .args(["-subj", "/CN=TrueMute test signature"])
            .args(["-addext", "basicConstraints=critical,CA:false"])
            .args(["-addext", "keyUsage=critical,digitalSignature"])
            .args(["-addext", "extendedKeyUsage=codeSigning"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate);
        let made = run.command(command, LIMIT, |_| {})?;
        if !made.ok() {
            bail!(
                "openssl made no certificate ({made}):\n{}",
                Tail::of(run.log)
            );
        }
        Ok(Self {
            program: signer,
            key,
            certificate,
        })
    }

    /// Signs a file in its place.
    pub(super) fn sign(&self, run: &mut Run<'_>, file: &Path) -> Result<()> {
        let signed = file.with_extension("signed");
        let _ = fs::remove_file(&signed);
        let mut command = Command::new(&self.program);
        command
            .args(["sign", "-h", "sha256", "-n", "TrueMute", "-certs"])
            .arg(&self.certificate)
            .arg("-key")
            .arg(&self.key)
            .arg("-in")
            .arg(file)
            .arg("-out")
            .arg(&signed);
        let ended = run.command(command, LIMIT, |_| {})?;
        if !ended.ok() {
            bail!(
                "{} could not be signed ({ended}):\n{}",
                file.display(),
                Tail::of(run.log)
            );
        }
        fs::rename(&signed, file)?;
        Ok(())
    }

    /// Whether a file's signature is of this certificate and covers the file, and its header has the right checksum.
    pub(super) fn verify(&self, file: &Path) -> Result<()> {
        let bytes = fs::read(file)?;
        let (said, is) = (pe::Image::parse(&bytes)?.checksum, pe::checksum(&bytes)?);
        ensure!(
            said == is,
            "its checksum is {is:#x}, and its header says {said:#x}"
        );
        let output = Command::new(&self.program)
            .args(["verify", "-CAfile"])
            .arg(&self.certificate)
            .arg("-in")
            .arg(file)
            .output()?;
        ensure!(
            output.status.success(),
            "osslsigncode does not take its signature: {}",
            String::from_utf8_lossy(&output.stdout).trim()
        );
        Ok(())
    }

    /// The same, and that a file with one bit changed would be refused.
    pub(super) fn verify_well(&self, file: &Path) -> Result<()> {
        self.verify(file)?;
        let mut changed = fs::read(file)?;
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        let copy = file.with_extension("changed");
        fs::write(&copy, &changed)?;
        let verdict = self.verify(&copy);
        fs::remove_file(&copy)?;
        ensure!(verdict.is_err(), "a changed bit was not noticed");
        Ok(())
    }

    /// Throws the key away.
    pub(super) fn forget(self) -> Result<()> {
        fs::remove_file(&self.key)?;
        Ok(())
    }
}
