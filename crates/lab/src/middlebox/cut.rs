//! A box that cuts or delays connections without reading them: at the start, or when the server closes.
//! It must not read any byte. Products: ISA/TMG's reset at the server's FIN; carriers that reset, drop or stall.

use std::time::Duration;

use serde::Deserialize;

use crate::middlebox::{Action, Middlebox};

/// How a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// Both sides are reset.
    Reset,
    /// Both sides are closed in order.
    Close,
    /// Both sides go silent.
    Blackhole,
}

/// When the box acts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct CutSpec {
    /// As soon as the connection stands.
    pub at_open: Option<How>,
    /// Silence before anything passes, milliseconds (at most a minute).
    pub pause_ms: u64,
    /// The client is reset when the server closes in order (ISA 2006, TMG 2010).
    pub resets_at_server_fin: bool,
}

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);

/// The box.
pub struct Cut {
    spec: CutSpec,
}

impl Cut {
    /// A box with these settings.
    pub fn new(spec: CutSpec) -> Self {
        Self { spec }
    }
}

fn action(how: How) -> Action {
    match how {
        How::Reset => Action::Reset,
        How::Close => Action::Close,
        How::Blackhole => Action::Blackhole,
    }
}

impl Middlebox for Cut {
    fn opened(&mut self, out: &mut Vec<Action>) {
        if self.spec.pause_ms > 0 {
            out.push(Action::Pause(
                Duration::from_millis(self.spec.pause_ms).min(LONGEST),
            ));
        }
        out.extend(self.spec.at_open.map(action));
    }

    fn client_sent(&mut self, segment: &[u8], out: &mut Vec<Action>) {
        out.push(Action::ToServer(segment.to_vec()));
    }

    fn server_sent(&mut self, segment: &[u8], out: &mut Vec<Action>) {
        out.push(Action::ToClient(segment.to_vec()));
    }

    fn server_closed(&mut self, out: &mut Vec<Action>) -> bool {
        if self.spec.resets_at_server_fin {
            out.push(Action::ResetClient);
        }
        !self.spec.resets_at_server_fin
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::play;

    #[test]
    fn isa_resets_the_client_when_the_server_ends() {
        let mut isa = Cut::new(CutSpec {
            resets_at_server_fin: true,
            ..CutSpec::default()
        });
        assert_eq!(play::server(&mut isa, "221 bye\r\n"), "C:221 bye\r\n");
        let mut out = Vec::new();
        assert!(!isa.server_closed(&mut out));
        assert_eq!(out, [Action::ResetClient]);
    }

    #[test]
    fn a_pause_comes_before_a_cut() {
        let mut cut = Cut::new(CutSpec {
            pause_ms: 7,
            at_open: Some(How::Blackhole),
            ..CutSpec::default()
        });
        let mut out = Vec::new();
        cut.opened(&mut out);
        assert_eq!(
            out,
            [Action::Pause(Duration::from_millis(7)), Action::Blackhole]
        );
    }
}
