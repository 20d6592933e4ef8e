//! The matrix is what it says it is.

use std::collections::BTreeSet;

use super::*;

fn runs() -> Vec<NetScenario> {
    expand(include_str!("../../../scenarios/net/matrix.toml")).expect("the matrix")
}

#[test]
fn there_are_enough_runs_with_names_of_their_own() {
    let runs = runs();
    assert!(runs.len() >= 320, "{}", runs.len());
    let names: BTreeSet<&str> = runs.iter().map(|run| run.id.as_str()).collect();
    assert_eq!(names.len(), runs.len());
    assert!(names.iter().all(|name| name.len() <= 60));
}

#[test]
fn whole_combinations_of_box_and_confounder_are_held_out_and_both_halves_know_all() {
    let mut held: BTreeMap<(String, String), BTreeSet<bool>> = BTreeMap::new();
    let runs = runs();
    for run in &runs {
        let key = (run.axes.kind.clone(), run.axes.confounder.clone());
        held.entry(key).or_default().insert(run.held_out);
    }
    for (combination, halves) in &held {
        assert_eq!(halves.len(), 1, "{combination:?}");
    }
    let count = runs.iter().filter(|run| run.held_out).count();
    assert!(
        (runs.len() * 2 / 5..=runs.len() * 3 / 5).contains(&count),
        "{count}"
    );
    for half in [false, true] {
        let of_half = || runs.iter().filter(|run| run.held_out == half);
        let all = |axis: fn(&Axes) -> &str| -> BTreeSet<String> {
            of_half().map(|run| axis(&run.axes).to_owned()).collect()
        };
        assert_eq!(all(|axes| &axes.kind).len(), 15 + 7, "held out: {half}");
        assert_eq!(all(|axes| &axes.confounder).len(), 13, "held out: {half}");
        let positions = all(|axes| &axes.position);
        let wanted = [
            "none",
            "server",
            "server-policy",
            "host",
            "home",
            "isp",
            "transit",
            "edge",
            "bridge",
        ];
        for position in wanted {
            assert!(positions.contains(position), "{position}, held out: {half}");
        }
        let programs: BTreeSet<&str> = of_half().map(|run| run.server.program.word()).collect();
        assert_eq!(programs.len(), 4, "{programs:?}");
        let schemes: BTreeSet<&str> = of_half().map(|run| run.scheme.as_str()).collect();
        assert_eq!(schemes.len(), 3, "{schemes:?}");
    }
}

#[test]
fn every_layout_can_be_drawn_and_every_box_and_router_is_on_it() {
    for run in runs() {
        let mut spec = run.chain.clone();
        if run.confounders.two_ways || run.confounders.path_change.is_some() {
            spec.second_way = 2;
        }
        let plan = Plan::draw(&spec).unwrap_or_else(|error| panic!("{}: {error}", run.id));
        for placed in &run.devices {
            assert!(plan.spot(&placed.at).is_some(), "{}: {}", run.id, placed.at);
        }
        for (what, name) in run.confounders.routers() {
            assert!(
                plan.chain.iter().any(|router| router == name),
                "{}: {what} {name}",
                run.id
            );
        }
    }
}

#[test]
fn segments_follow_from_where_the_box_stands() {
    let runs = runs();
    let find = |id: &str| {
        let run = runs.iter().find(|run| run.id == id);
        run.unwrap_or_else(|| panic!("no {id}")).expected["client"].clone()
    };
    let segment = |after_hop, up_to_hop| {
        Some(Span {
            after_hop,
            up_to_hop,
        })
    };
    let host = find("cisco-mask-at-host-none");
    assert_eq!((host.segment, host.class), (segment(0, 1), Class::ThisHost));
    let proxy = find("line-removal-at-isp-none");
    assert_eq!(proxy.segment, segment(1, 2));
    let block = find("block-drop-at-isp-out-none");
    assert_eq!((block.segment, block.reply_segment), (segment(2, 3), None));
    for run in &runs {
        let mobile = &run.expected["mobile"];
        let near = ["host", "home", "isp"].contains(&run.axes.position.as_str());
        if near {
            assert_eq!(mobile.class, Class::None, "{}", run.id);
        }
        for expected in run.expected.values() {
            assert!(!expected.verdicts.is_empty(), "{}", run.id);
            for span in [expected.segment, expected.reply_segment]
                .into_iter()
                .flatten()
            {
                assert_eq!(span.after_hop + 1, span.up_to_hop, "{}", run.id);
                assert!(span.up_to_hop <= 7, "{}", run.id);
            }
        }
    }
}

#[test]
fn representatives_exist() {
    let matrix: Matrix =
        toml::from_str(include_str!("../../../scenarios/net/matrix.toml")).expect("the matrix");
    let runs = runs();
    for name in &matrix.representative {
        assert!(runs.iter().any(|run| run.id == *name), "{name}");
    }
}
