//! argv[0] decides: `jacod` is the daemon, any other name the command line.

fn main() {}
