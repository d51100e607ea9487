//! What it costs to decide who a request is from, beside the bare primitives that this is made of.
//!
//! `cargo bench --bench identity` prints a table. Instructions are counted by valgrind, which this
//! binary runs on itself (`identity run CASE SIDE REPEATS OF`) with two numbers of repeats after one
//! preparation: the difference leaves out what preparing costs. Both sides use the same
//! implementations of the primitives. valgrind knows AES and carry-less multiplication but no SHA
//! instructions, so the hashes are counted in their portable form; times are those of the processor.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench prints, and one that cannot go on stops"
)]

mod bare;
mod cases;
mod fixture;

use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::time::Instant;

use self::cases::{ALL, Case, Goal};

/// Rounds of the clock, of which the median counts.
const ROUNDS: usize = 15;

/// Which of the two is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// This project.
    Ours,
    /// The bare primitives.
    Bare,
}

impl Side {
    const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Bare => "bare",
        }
    }
}

/// Instructions of one check, or `None` without valgrind.
fn instructions(case: &Case, side: Side) -> Option<f64> {
    let repeats = case.counted;
    let (few, many) = (
        count(case, side, repeats, 2 * repeats)?,
        count(case, side, 2 * repeats, 2 * repeats)?,
    );
    Some((many - few) as f64 / repeats as f64)
}

/// Instructions of a run of this binary under valgrind: so many repeats `of` what is prepared.
fn count(case: &Case, side: Side, repeats: usize, of: usize) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().ok()?)
        .args(["run", case.name, side.name()])
        .args([repeats.to_string(), of.to_string()])
        .output()
        .ok()?;
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = report.lines().find(|line| line.contains("Collected"))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Nanoseconds of one check: the median of the rounds. Ours and the bare primitives take turns, so
/// that what slows the machine slows both.
fn nanoseconds(case: &Case) -> [f64; 2] {
    let mut steps = [Side::Ours, Side::Bare].map(|side| case.prepare(side, case.timed * ROUNDS));
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for (step, times) in steps.iter_mut().zip(&mut times) {
            let start = Instant::now();
            for at in round * case.timed..(round + 1) * case.timed {
                black_box(step(black_box(at)));
            }
            times.push(start.elapsed().as_nanos() as f64 / case.timed as f64);
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times.get(ROUNDS / 2).copied().unwrap_or_default()
    })
}

fn report(wanted: &[&str]) {
    println!(
        "{:<34} {:>29}   {:>27}   goal",
        "", "instructions", "nanoseconds (median)"
    );
    println!(
        "{:<34} {:>10} {:>10} {:>7}   {:>9} {:>9} {:>7}",
        "check", "ours", "bare", "ratio", "ours", "bare", "ratio"
    );
    let chosen = |case: &&Case| wanted.is_empty() || wanted.contains(&case.name);
    for case in ALL.iter().filter(chosen) {
        let [ours, bare] = nanoseconds(case);
        let counted = instructions(case, Side::Ours).zip(instructions(case, Side::Bare));
        let (of_ours, of_bare) = counted.unwrap_or((f64::NAN, f64::NAN));
        let ratio = of_ours / of_bare;
        if case.name.starts_with("policy-") {
            let Goal::Nanoseconds(most) = case.goal else {
                continue;
            };
            println!(
                "{:<34} {of_ours:>10.0} {:>10} {:>7}   {ours:>9.0} {:>9} {:>7}   <= {most:.0} ns {}",
                case.name,
                "",
                "",
                "",
                "",
                met(ours <= most)
            );
            continue;
        }
        let goal = match case.goal {
            Goal::Ratio(most) if counted.is_none() => format!("<= {most}x: valgrind is not here"),
            Goal::Ratio(most) => format!("<= {most}x instructions {}", met(ratio <= most)),
            Goal::Nanoseconds(most) => format!("<= {most:.0} ns {}", met(ours <= most)),
            Goal::None => String::new(),
        };
        println!(
            "{:<34} {of_ours:>10.0} {of_bare:>10.0} {ratio:>6.2}x   {ours:>9.0} {bare:>9.0} {:>6.2}x   {goal}",
            case.name,
            ours / bare,
        );
    }
}

fn met(is: bool) -> &'static str {
    if is { "met" } else { "MISSED" }
}

fn main() -> ExitCode {
    let (from_cargo, arguments): (Vec<_>, _) = std::env::args()
        .skip(1)
        .partition::<Vec<String>, _>(|argument| argument == "--bench");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ["run", name, side, repeats, of] = *arguments else {
        // `cargo test` builds and starts benches too, without this argument.
        if !from_cargo.is_empty() {
            report(&arguments);
        }
        return ExitCode::SUCCESS;
    };
    let case = ALL.iter().find(|case| case.name == name);
    let sides = [Side::Ours, Side::Bare];
    let side = sides.into_iter().find(|known| known.name() == side);
    match (case, side, repeats.parse::<usize>(), of.parse()) {
        (Some(case), Some(side), Ok(repeats), Ok(of)) => {
            let step = case.prepare(side, of);
            println!("{}", (0..repeats).map(step).sum::<usize>());
            ExitCode::SUCCESS
        }
        _ => ExitCode::FAILURE,
    }
}
