//! `cargo xtask test --kernel`: tests that need what the kernel of this machine may not have.
//!
//! A guest boots Debian's kernel in qemu, without virtualisation of the processor, so it runs
//! anywhere. Its whole system is an initial RAM disk with the test binaries that an ordinary run
//! has too. Nothing is installed: packages are unpacked below the target directory.

mod archive;
mod guest;
mod image;
mod packages;
mod plan;
mod report;

use std::process::ExitCode;

use anyhow::Result;

use crate::run::target_dir;

/// Boots the guest and runs the tests in it; `filters` as for other tests.
pub(crate) fn test(filters: &[String]) -> Result<ExitCode> {
    jaco_lab::ensure_tools()?;
    let cache = target_dir()?.join("kernel");
    println!("==> unpack qemu and a kernel");
    let system = packages::fetch(&cache)?;
    println!("==> build the tests of the kernel");
    let runs = plan::runs(filters)?;
    println!("==> pack the guest");
    let image = image::pack(&cache, &system, &runs)?;
    println!("==> test in the guest; it is slow, see {}", cache.join("serial.log").display());
    let report = guest::boot(&cache, &system, &image)?;
    Ok(report.conclude(&runs))
}
