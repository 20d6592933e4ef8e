//! `cargo run -p hoofbeat-lab --example up -- SCENARIO HOST COMMAND…`: a network scenario without the program under test,
//! for work on the lab and on probes. `hoofbeat lab up` is the same for users.

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("the lab in network namespaces needs Linux");
    std::process::exit(64);
}

#[cfg(target_os = "linux")]
fn main() {
    let status = linux::run().unwrap_or_else(|error| {
        eprintln!("up: {error}");
        70
    });
    std::process::exit(status);
}

#[cfg(target_os = "linux")]
mod linux {
    use std::error::Error;
    use std::os::unix::process::CommandExt as _;
    use std::time::Instant;

    use hoofbeat_lab::topology::{Extras, NetScenario, World, shell};

    pub(super) fn run() -> Result<i32, Box<dyn Error>> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let [id, host, command @ ..] = arguments.as_slice() else {
            return Err("usage: up SCENARIO HOST COMMAND…".into());
        };
        if !shell::is_inside() {
            return Err(shell::enter(std::env::current_exe()?, &arguments)?
                .exec()
                .into());
        }
        let scenario = match NetScenario::by_id(id) {
            Some(scenario) => scenario.clone(),
            None => NetScenario::read(&std::fs::read_to_string(id)?)?
                .into_iter()
                .next()
                .ok_or("no scenario in that file")?,
        };
        let began = Instant::now();
        let world = World::build(&scenario, &Extras::default())?;
        eprint!("{}", world.map(&scenario));
        eprintln!("up in {:?}", began.elapsed());
        if command.is_empty() {
            return Ok(0);
        }
        let status = world.command(host, command)?.status()?;
        Ok(status.code().unwrap_or(128))
    }
}
