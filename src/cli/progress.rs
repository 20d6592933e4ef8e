//! One line of progress on standard error, only where that is a terminal.

use hoofbeat_probe::{Progress, path::TraceProgress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{io::IsTerminal as _, time::Duration};

/// What is being done.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'a> {
    /// A dialogue.
    Dialogue(Progress<'a>),
    /// A trace.
    Trace(TraceProgress<'a>),
}

/// The line.
pub(super) struct Line(ProgressBar);

impl Line {
    /// A line that is drawn only if wanted and standard error is a terminal.
    pub(super) fn new(wanted: bool) -> Self {
        if !wanted || !std::io::stderr().is_terminal() {
            return Self(ProgressBar::with_draw_target(
                None,
                ProgressDrawTarget::hidden(),
            ));
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(bar)
    }

    /// Shows what is being done.
    pub(super) fn show(&self, target: &str, step: Step<'_>) {
        let target = if target.is_empty() {
            "your network"
        } else {
            target
        };
        let step = match step {
            Step::Dialogue(Progress::Began(ask)) => {
                format!("asking {} ({:?})", ask.service, ask.variation)
            }
            Step::Dialogue(Progress::Step(ask, exchange)) => {
                format!("{}: {:?}", ask.service, exchange.label)
            }
            Step::Dialogue(Progress::Ended(ask, _)) => format!("{}: done", ask.service),
            Step::Trace(TraceProgress::Began(ask)) => {
                format!("tracing the path to {}", ask.service)
            }
            Step::Trace(TraceProgress::Traced(ask, trace)) => {
                let hop = trace
                    .probes
                    .iter()
                    .map(|probe| probe.ttl)
                    .max()
                    .unwrap_or(0);
                format!("{}: {:?} as far as hop {hop}", ask.service, trace.method)
            }
            Step::Trace(TraceProgress::Ended(ask)) => format!("{}: traced", ask.service),
        };
        self.0.set_message(format!("{target}: {step}"));
    }

    /// Shows a sentence of one's own.
    pub(super) fn say(&self, text: String) {
        self.0.set_message(text);
    }

    /// Makes room for results.
    pub(super) fn clear(&self) {
        self.0.set_message("");
        self.0.suspend(|| ());
    }
}
impl Drop for Line {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
