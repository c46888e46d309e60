//! Developer tasks of JACO: `cargo xtask <task>`, one file per task.
//!
//! It needs no tool that it could install, so it is the one thing that runs on a bare machine. Of
//! the product only the drivers that benchmarks measure by themselves are linked in.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool's output is its product"
)]

mod bench;
mod ci;
mod demo;
mod dist;
mod elf;
mod kernel;
mod lab;
mod run;
mod setup;
mod sim;
mod site;
mod soak;
mod test;
mod tidy;

use std::process::ExitCode;

use argh::FromArgs;

/// Developer tasks of JACO.
#[derive(Debug, FromArgs)]
struct Args {
    #[argh(subcommand)]
    task: Task,
}

#[derive(Debug, FromArgs)]
#[argh(subcommand)]
enum Task {
    Bench(bench::Bench),
    Ci(ci::Ci),
    Demo(demo::Demo),
    Dist(dist::Dist),
    Lab(lab::Lab),
    Setup(setup::Setup),
    Sim(sim::Sim),
    Soak(soak::Soak),
    Test(test::Test),
    Tidy(tidy::Tidy),
}

fn main() -> ExitCode {
    let outcome = match argh::from_env::<Args>().task {
        Task::Bench(task) => task.run(),
        Task::Ci(task) => task.run(),
        Task::Demo(task) => task.run(),
        Task::Dist(task) => task.run(),
        Task::Lab(task) => task.run(),
        Task::Setup(task) => task.run(),
        Task::Sim(task) => task.run(),
        Task::Soak(task) => task.run(),
        Task::Test(task) => task.run(),
        Task::Tidy(task) => task.run(),
    };
    // The causes on one line; a backtrace of this program would tell its user nothing.
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
