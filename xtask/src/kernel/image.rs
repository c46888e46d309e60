//! The guest's file system: test binaries, the programs they call, libraries and modules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::BufWriter;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::archive::Archive;
use super::packages::{System, output};
use super::plan::Run;

/// Parts of the kernel's modules that tests of the network need.
const MODULES: [&str; 5] = ["net", "crypto", "lib", "arch", "drivers/net"];
/// Programs of this machine that tests call.
const PROGRAMS: [&str; 2] = ["ip", "nft"];
/// What busybox does for the guest's first process.
const APPLETS: [&str; 9] =
    ["sh", "mount", "mkdir", "mknod", "echo", "uname", "poweroff", "cat", "false"];
/// Where the loader looks for libraries by itself.
const LIBRARIES: &str = "lib/x86_64-linux-gnu";

/// The first process. The plan stands in its place.
const INIT: &str = "#!/bin/sh
export PATH=/bin:/sbin HOME=/ TMPDIR=/tmp JACO_TEST_PATIENCE=5
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mkdir -p /dev/net
mknod /dev/net/tun c 10 200
ip link set lo up
echo \"guest: kernel $(uname -r)\"
PLAN
echo 'guest: done'
poweroff -f
";

/// Writes the archive and says where.
pub(super) fn pack(cache: &Path, system: &System, runs: &[Run]) -> Result<PathBuf> {
    let path = cache.join("guest.cpio");
    let file = File::create(&path).with_context(|| format!("make {}", path.display()))?;
    let mut archive = Archive::new(BufWriter::new(file));
    for directory in ["proc", "sys", "dev", "tmp", "run"] {
        archive.directory(directory)?;
    }
    archive.file("init", INIT.replace("PLAN\n", &script(runs)).as_bytes())?;
    archive.file("bin/busybox", &read(&system.file("bin/busybox")?)?)?;
    for applet in APPLETS {
        archive.link(&format!("bin/{applet}"), "busybox")?;
    }
    let kmod = system.file("bin/kmod")?;
    archive.link("sbin/modprobe", "/bin/kmod")?;
    let mut programs = BTreeMap::from([("bin/kmod".to_owned(), kmod.clone())]);
    for program in PROGRAMS {
        programs.insert(format!("bin/{program}"), installed(program)?);
    }
    let mut libraries = BTreeSet::new();
    for (place, program) in &programs {
        archive.file(place, &read(program)?)?;
        libraries.extend(needed(system, program)?);
    }
    for binary in runs.iter().map(|run| &run.binary).collect::<BTreeSet<_>>() {
        let stripped = cache.join("stripped");
        output(Command::new("strip").arg("-o").arg(&stripped).arg(binary))?;
        archive.file(&place(binary), &read(&stripped)?)?;
        libraries.extend(needed(system, binary)?);
    }
    for library in libraries {
        let name = library.file_name().context("a library without a name")?.to_string_lossy();
        let is_loader = name.starts_with("ld-");
        let directory = if is_loader { "lib64" } else { LIBRARIES };
        archive.file(&format!("{directory}/{name}"), &read(&library)?)?;
    }
    modules(&mut archive, cache, system, &kmod)?;
    archive.finish()?;
    Ok(path)
}

/// The runs as lines of the shell.
fn script(runs: &[Run]) -> String {
    let mut text = String::new();
    for Run { name, binary, environment, arguments, before } in runs {
        let _ = writeln!(text, "{before}\necho 'guest: begin {name}'");
        let _ = writeln!(text, "{environment} /{} {arguments}", place(binary));
        let _ = writeln!(text, "echo \"guest: end {name} $?\"");
    }
    text
}

/// Where a test binary is in the guest.
fn place(binary: &Path) -> String {
    let name = binary.file_name().unwrap_or_default().to_string_lossy();
    format!("tests/{name}")
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

/// A program of this machine.
fn installed(name: &str) -> Result<PathBuf> {
    let places = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let mut found = places.iter().map(|place| Path::new(place).join(name));
    found.find(|path| path.is_file()).with_context(|| format!("{name} is not installed"))
}

/// The libraries of a program, with the loader.
fn needed(system: &System, program: &Path) -> Result<Vec<PathBuf>> {
    let text = output(system.command("ldd").arg(program))?;
    ensure!(!text.contains("not found"), "{} lacks a library: {text}", program.display());
    Ok(paths(&text))
}

/// The paths in what `ldd` prints.
fn paths(text: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let right = line.split_once("=> ").map_or(line, |(_, right)| right);
        let path = right.split_whitespace().next()?;
        path.starts_with('/').then(|| PathBuf::from(path))
    };
    text.lines().filter_map(path).collect()
}

/// The modules and the tables by which they are found.
fn modules(
    archive: &mut Archive<BufWriter<File>>,
    cache: &Path,
    system: &System,
    kmod: &Path,
) -> Result<()> {
    let version = &system.version;
    let staged = cache.join("modules");
    let top = staged.join("lib/modules").join(version);
    if staged.is_dir() {
        fs::remove_dir_all(&staged).context("remove the modules of the last run")?;
    }
    for part in MODULES {
        let from = system.modules().join("kernel").join(part);
        if from.is_dir() {
            copy(&from, &top.join("kernel").join(part))?;
        }
    }
    for file in ["modules.builtin", "modules.builtin.modinfo", "modules.order"] {
        let from = system.modules().join(file);
        if from.is_file() {
            fs::copy(&from, top.join(file)).with_context(|| format!("copy {file}"))?;
        }
    }
    let mut depmod = system.command(kmod);
    output(depmod.arg0("depmod").arg("-b").arg(&staged).arg(version))?;
    let mut todo = vec![top];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.is_dir() {
                todo.push(path);
            } else {
                let name = path.strip_prefix(&staged)?.to_string_lossy().into_owned();
                archive.file(&name, &read(&path)?)?;
            }
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("make {}", to.display()))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &place)?;
        } else {
            fs::copy(entry.path(), &place)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_those_with_a_path() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\
            \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n\tstatically linked\n";
        let wanted = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(paths(text), wanted.map(PathBuf::from));
    }

    #[test]
    fn the_plan_is_a_script() {
        let run = Run {
            name: "mesh",
            binary: "/t/netns-1".into(),
            environment: "A=b",
            arguments: "--skip x".to_owned(),
            before: "echo 1",
        };
        let wanted = "echo 1\necho 'guest: begin mesh'\nA=b /tests/netns-1 --skip x\n\
                      echo \"guest: end mesh $?\"\n";
        assert_eq!(script(&[run]), wanted);
    }
}
