//! What lies before the judge for one service: its own dialogues, its siblings', the controls', the policy.
//!
//! Contrasts are drawn here and nowhere else: this connection against that one, this port against its
//! sibling, this server against those that are known. It must not know what follows from a contrast.

use alloc::{collections::BTreeSet, string::String, vec::Vec};
use hoofbeat_observation::{HandshakeOutcome, Role, Service, Verification};
use hoofbeat_session::{Label, Layer, Outcome, Protocol};

use crate::{
    Settings,
    attribution::likelihood::Group,
    dialect::Dialect,
    elsewhere::Others,
    fingerprint::{
        catalogue::{GREETINGS, Greeting, Kind},
        mask::{self, Banner, Masks},
        wording,
    },
    hearing::{Hearing, Step},
    path::walk::Walk,
    pattern,
    policy::Policy,
    witness::testimony::Testimony,
};

/// Everything about one service.
pub(crate) struct Bench<'c, 'a> {
    /// Which service.
    pub(crate) service: &'a Service,
    /// Its own dialogues, in the order of the record.
    pub(crate) hearings: Vec<&'c Hearing<'a>>,
    /// Other services of the same host or address.
    pub(crate) siblings: Vec<&'c Hearing<'a>>,
    /// Servers known to offer TLS, without this one.
    pub(crate) controls: Vec<&'c Hearing<'a>>,
    /// Addresses where nothing may answer.
    pub(crate) negatives: Vec<&'c Hearing<'a>>,
    /// Where this service is itself a control: whose, and what it is known to offer.
    pub(crate) known: Option<(&'a str, &'a [String])>,
    /// What is published about it.
    pub(crate) policy: Policy<'a>,
    /// The run's settings.
    pub(crate) settings: &'c Settings,
    /// The server's dialect, where its replies show it.
    pub(crate) dialect: Option<&'static Dialect>,
    /// The path to it, where it was traced.
    pub(crate) path: Option<Walk>,
    /// What a cooperating server saw on its port.
    pub(crate) testimony: Option<Testimony>,
    /// What other vantages say of it.
    pub(crate) others: Others,
}

/// One attempt at TLS.
pub(crate) type Attempt<'c, 'a> = (&'c Hearing<'a>, &'c Step<'a>);

/// Whether STARTTLS is offered over all connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// In every list.
    Always,
    /// In no list.
    Never,
    /// In some lists.
    Sometimes,
    /// No list was seen.
    Unseen,
}

/// What the controls on the same port say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Controls {
    /// All of them are as they are known to be.
    Clean,
    /// None of them is.
    Affected,
    /// None was asked, or they disagree.
    Silent,
}

impl<'c, 'a> Bench<'c, 'a> {
    /// In which language.
    pub(crate) fn protocol(&self) -> Protocol {
        self.hearings.first().map_or_else(
            || self.service.scheme.protocol(),
            |hearing| hearing.protocol(),
        )
    }

    /// The dialogues in which the server's first words were a welcome.
    pub(crate) fn welcomed(&self) -> impl Iterator<Item = &'c Hearing<'a>> + '_ {
        self.hearings
            .iter()
            .copied()
            .filter(|hearing| is_welcomed(hearing))
    }

    /// Whether STARTTLS is offered.
    pub(crate) fn offer(&self) -> Offer {
        let seen: BTreeSet<bool> = self
            .hearings
            .iter()
            .filter_map(|hearing| hearing.offered())
            .collect();
        match (seen.contains(&true), seen.contains(&false)) {
            (true, true) => Offer::Sometimes,
            (true, false) => Offer::Always,
            (false, true) => Offer::Never,
            (false, false) => Offer::Unseen,
        }
    }

    /// The attempts at TLS with the verb in capitals.
    pub(crate) fn attempts(&self) -> Vec<Attempt<'c, 'a>> {
        self.upgrades(|label| label == Label::StartTls)
    }
    /// The attempts at TLS with the verb spelt or cut otherwise.
    pub(crate) fn respelt(&self) -> Vec<Attempt<'c, 'a>> {
        self.upgrades(|label| label != Label::StartTls)
    }
    fn upgrades(&self, wanted: impl Fn(Label) -> bool) -> Vec<Attempt<'c, 'a>> {
        self.hearings
            .iter()
            .flat_map(|hearing| hearing.upgrades().map(move |step| (*hearing, step)))
            .filter(|(_, step)| wanted(step.exchange.label))
            .collect()
    }

    /// The dialogues in which TLS came up.
    pub(crate) fn completed(&self) -> impl Iterator<Item = &'c Hearing<'a>> + '_ {
        self.hearings
            .iter()
            .copied()
            .filter(|hearing| hearing.completed().is_some())
    }

    /// Whether a dialogue's certificate proves the server: verified, or matched by a secure TLSA record.
    pub(crate) fn proven(&self, hearing: &Hearing<'_>) -> bool {
        hearing.completed().is_some_and(|handshake| {
            matches!(handshake.verification, Verification::Verified { .. })
                || self.policy.dane_ee_matches(handshake)
        })
    }

    /// Whether TLS came up with a proven server in some dialogue.
    pub(crate) fn is_proven(&self) -> bool {
        self.completed().any(|hearing| self.proven(hearing))
    }

    /// The overwritten items of each dialogue's first list before TLS.
    pub(crate) fn masks(&self) -> Vec<(&'c Hearing<'a>, Masks)> {
        self.hearings
            .iter()
            .flat_map(|hearing| {
                let masked = hearing
                    .lists(Layer::Plain)
                    .into_iter()
                    .map(|list| mask::masks(&list, hearing.protocol(), self.dialect));
                masked
                    .filter(|masks| !masks.items.is_empty())
                    .take(1)
                    .map(move |masks| (*hearing, masks))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// The first masked greeting.
    pub(crate) fn masked_greeting(&self) -> Option<(&'c Hearing<'a>, &'c Step<'a>, Banner)> {
        if !matches!(self.protocol(), Protocol::Smtp | Protocol::Lmtp) {
            return None;
        }
        self.hearings.iter().find_map(|hearing| {
            let step = hearing.greeting()?;
            mask::banner(&step.bytes).map(|kind| (*hearing, step, kind))
        })
    }

    /// The first greeting that names a product.
    pub(crate) fn named(&self) -> Option<(&'c Hearing<'a>, &'c Step<'a>, &'static Greeting)> {
        self.hearings.iter().find_map(|hearing| {
            let step = hearing.greeting().filter(|step| {
                step.exchange.layer == Layer::Plain || self.service.scheme.is_implicit_tls()
            })?;
            let lines = hearing.greeting_lines();
            let found = GREETINGS.iter().find(|known| {
                known.protocol == hearing.protocol()
                    && lines
                        .iter()
                        .any(|line| pattern::matches(known.pattern, line))
            })?;
            Some((*hearing, step, found))
        })
    }

    /// The product of a gateway that passes for the server or edits its words.
    pub(crate) fn gateway(&self) -> Option<&'static Greeting> {
        self.named()
            .map(|(_, _, found)| found)
            .filter(|found| matches!(found.kind, Kind::Editor | Kind::Gateway))
    }

    /// A reply in the recognised dialect's words for the unknown.
    pub(crate) fn second_voice(&self) -> Option<(&'c Hearing<'a>, &'c Step<'a>)> {
        let dialect = self.dialect?;
        self.hearings.iter().find_map(|hearing| {
            let step = hearing.steps.iter().find(|step| {
                step.exchange.label == Label::UnknownVerb
                    && pattern::any(dialect.unknown, &step.line)
            })?;
            Some((*hearing, step))
        })
    }

    /// Controls on the same port.
    pub(crate) fn controls_here(&self) -> impl Iterator<Item = &'c Hearing<'a>> + '_ {
        self.controls.iter().copied().filter(|control| {
            control.dialogue.service.port == self.service.port
                || control.dialogue.service.scheme == self.service.scheme
        })
    }

    /// What the controls on the same port show of TLS.
    pub(crate) fn controls(&self) -> Controls {
        self.controls_by(shows_tls).0
    }

    /// Which controls a test passes (`Some(true)` as known, `Some(false)` affected), and how many are affected.
    /// A control's best dialogue counts.
    pub(crate) fn controls_by(
        &self,
        passes: impl Fn(&Hearing<'_>) -> Option<bool>,
    ) -> (Controls, usize) {
        let mut clean = BTreeSet::new();
        let mut affected = BTreeSet::new();
        for control in self.controls_here() {
            let name = &control.dialogue.service;
            match passes(control) {
                Some(true) => clean.insert(name),
                Some(false) => affected.insert(name),
                None => false,
            };
        }
        affected.retain(|name| !clean.contains(name));
        let verdict = match (clean.is_empty(), affected.is_empty()) {
            (false, true) => Controls::Clean,
            (true, false) => Controls::Affected,
            _ => Controls::Silent,
        };
        (verdict, affected.len())
    }

    /// Controls on this port whose attempt at TLS dies, if no control's succeeds.
    pub(crate) fn dying_controls(&self) -> Vec<&'c Hearing<'a>> {
        let mut dying = Vec::new();
        for control in self.controls_here() {
            match dies(control) {
                Some(true) => dying.push(control),
                Some(false) => return Vec::new(),
                None => {}
            }
        }
        dying
    }

    /// An address where nothing may answer, and that greets.
    pub(crate) fn greeting_from_nowhere(&self) -> Option<(&'c Hearing<'a>, &'c Step<'a>)> {
        self.negatives.iter().find_map(|hearing| {
            let step = hearing.greeting().filter(|step| step.answered())?;
            Some((*hearing, step))
        })
    }

    /// A sibling on which TLS came up with a certificate that verifies.
    pub(crate) fn working_sibling(&self) -> Option<&'c Hearing<'a>> {
        self.siblings.iter().copied().find(|sibling| {
            sibling.completed().is_some_and(|handshake| {
                matches!(handshake.verification, Verification::Verified { .. })
            })
        })
    }

    /// This port's TCP handshake is far quicker than the same address's on another port: somebody near answers.
    pub(crate) fn near_terminator(&self) -> Option<(&'c Hearing<'a>, u128, u128)> {
        let here = self
            .hearings
            .iter()
            .filter_map(|hearing| Some((*hearing, hearing.connect_micros()?)))
            .min_by_key(|(_, micros)| *micros)?;
        let there = self
            .siblings
            .iter()
            .filter(|sibling| {
                sibling.dialogue.service.address.is_some()
                    && sibling.dialogue.service.address == self.service.address
            })
            .filter_map(|sibling| sibling.connect_micros())
            .min()?;
        // Below 2 ms is this building; ten times and 10 ms apart is no jitter of one path.
        (here.1 < 2_000 && there >= 10_000 && there >= here.1.saturating_mul(10))
            .then_some((here.0, here.1, there))
    }

    /// Whether more than dialogues from this place lies before the judge.
    pub(crate) fn has_more(&self) -> bool {
        self.path.is_some()
            || self.testimony.is_some()
            || !self.others.is_silent()
            || !self.others.unweighed.is_empty()
    }

    /// Whether the settings leave a group of evidence out.
    pub(crate) fn leaves_out(&self, group: Group) -> bool {
        self.settings
            .leave_out
            .iter()
            .any(|code| code.eq_ignore_ascii_case(group.code()))
    }

    /// The measurement that is cited for the path as a whole.
    pub(crate) fn path_id(&self) -> &str {
        self.path.as_ref().map_or("", |walk| walk.id.as_str())
    }

    /// Whether any of the dialogues is a pasted text.
    pub(crate) fn is_text(&self) -> bool {
        self.hearings.iter().any(|hearing| hearing.is_text())
    }

    /// Whether the server's words were recorded by somebody else, so that nothing more can be asked.
    pub(crate) fn is_recorded(&self) -> bool {
        !self.hearings.is_empty() && self.hearings.iter().all(|hearing| hearing.is_recorded())
    }
}

/// The server's first words were a welcome. A recording may begin behind the greeting.
pub(crate) fn is_welcomed(hearing: &Hearing<'_>) -> bool {
    match hearing.greeting() {
        Some(step) => step.positive(),
        None => hearing.is_recorded() && hearing.steps.iter().any(Step::answered),
    }
}

/// Whether a server that is known to offer TLS does so from here.
pub(crate) fn shows_tls(control: &Hearing<'_>) -> Option<bool> {
    let Role::Control { known, .. } = &control.dialogue.role else {
        return None;
    };
    if let Some(handshake) = control.handshake() {
        // A control's bad certificate, such as a user's own one, says nothing of whether TLS gets through.
        return match (&handshake.outcome, &handshake.verification) {
            (_, Verification::Verified { .. }) => Some(true),
            (HandshakeOutcome::Completed, _) => None,
            _ => Some(false),
        };
    }
    if control.dialogue.service.scheme.is_implicit_tls() {
        return None;
    }
    let starttls = if control.protocol() == Protocol::Pop3 {
        "STLS"
    } else {
        "STARTTLS"
    };
    if !known
        .iter()
        .any(|keyword| keyword.eq_ignore_ascii_case(starttls))
    {
        return None;
    }
    if control
        .upgrades()
        .any(|step| !control.is_ready(step) && step.exchange.outcome != Outcome::Unfinished)
    {
        return Some(false);
    }
    control.offered()
}

/// Whether a control's attempt at TLS ended in a cut connection, silence or no TLS; `None` where none was made.
pub(crate) fn dies(control: &Hearing<'_>) -> Option<bool> {
    if let Some(handshake) = control.handshake() {
        return Some(handshake.outcome != HandshakeOutcome::Completed);
    }
    control.upgrades().next().map(Step::unanswered)
}

/// The dialect that a service's dialogues show.
pub(crate) fn dialect_of(hearings: &[&Hearing<'_>]) -> Option<&'static Dialect> {
    wording::recognise(hearings)
}
