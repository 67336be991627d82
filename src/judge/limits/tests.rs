use super::*;

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("valid")
}

/// A table with one more `[[limit]]` or `[[condition]]` than the built-in one, and the line it begins on.
fn with(entry: &str) -> (String, usize) {
    let text = format!("{BUILT_IN}\n{entry}\n");
    let line = BUILT_IN.lines().count() + 2;
    (text, line)
}

fn problems(text: &str) -> Vec<(usize, String)> {
    let errors = Limits::parse(text).expect_err("wrong on purpose");
    errors.0.into_iter().map(|error| (error.line, error.problem)).collect()
}

fn limit_entry(pollutant: &str, class: &str, unit: &str, dates: &str) -> String {
    format!(
        "[[limit]]\npollutant = \"{pollutant}\"\nclass = \"{class}\"\nvalue = 1.0\nunit = \"{unit}\"\n{dates}\n\
         standard = \"S\"\nclause = \"1\"\nsource = \"test\"\nconfidence = \"sourced\""
    )
}

#[test]
fn the_built_in_table_loads_and_is_asked_by_time() {
    let limits = Limits::built_in();
    let find = |time| limits.find(Pollutant::Opacity, Class::Diesel, at(time)).map(|(_, limit)| limit.value);
    assert_eq!(find("2017-07-26T23:59:59+08:00"), None);
    assert_eq!(find("2017-07-27T00:00:00+08:00"), Some(30.0));
    assert!(limits.find(Pollutant::Opacity, Class::Petrol, at("2026-01-01T00:00:00Z")).is_none());
    assert_eq!(limits.episode().months, 6);
}

#[test]
fn an_interval_ends_before_its_last_day() {
    let entries = format!(
        "{}\n{}",
        limit_entry("co", "petrol", "%", "valid_from = 2020-01-01\nvalid_to = 2022-10-01"),
        limit_entry("co", "petrol", "%", "valid_from = 2022-10-01").replace("value = 1.0", "value = 2.0"),
    );
    let limits = Limits::parse(&with(&entries).0).expect("meets exactly");
    let find = |time| limits.find(Pollutant::Co, Class::Petrol, at(time)).map(|(_, limit)| limit.value);
    assert_eq!(find("2022-09-30T23:59:59+08:00"), Some(1.0));
    assert_eq!(find("2022-10-01T00:00:00+08:00"), Some(2.0));
}

#[test]
fn gaps_overlaps_and_units_name_the_line() {
    let (text, line) = with(&limit_entry("opacity", "diesel", "%", "valid_from = 2025-01-01"));
    assert_eq!(problems(&text), [(line, "overlap in the limit of opacity for diesel from 2025-01-01".to_owned())]);

    let closed = text.replacen("valid_from = 2017-07-27", "valid_from = 2017-07-27\nvalid_to = 2024-12-01", 1);
    let gap = "gap in the limit of opacity for diesel from 2024-12-01 to 2025-01-01".to_owned();
    assert_eq!(problems(&closed), [(line + 1, gap)]);

    let (text, line) = with(&limit_entry("co", "petrol", "ppm", "valid_from = 2025-01-01"));
    assert_eq!(problems(&text), [(line, "unit \"ppm\" is not that of co, which is \"%\"".to_owned())]);

    let (text, line) = with(&limit_entry("soot", "petrol", "%", "valid_from = 2025-01-01"));
    assert!(matches!(&problems(&text)[..], [(at, problem)] if *at == line && problem.contains("\"soot\"")));

    let condition = "[[condition]]\nkey = \"wind_speed_ms\"\nmax = 3.0\nunit = \"m/s\"\napplies_to = [\"no\"]\n\
                     standard = \"S\"\nclause = \"1\"\nvalid_from = 2025-01-01\nsource = \"t\"\nconfidence = \"sourced\"";
    let (text, line) = with(condition);
    let overlap = "overlap in the condition wind_speed_ms for no from 2025-01-01".to_owned();
    assert_eq!(problems(&text), [(line, overlap)]);
}

#[test]
fn everything_wrong_is_reported_at_once() {
    let entries = [
        limit_entry("co", "horse", "%", "valid_from = 2025-01-01"),
        limit_entry("co", "petrol", "%", "valid_from = 2025-01-01T10:00:00"),
        limit_entry("hc", "gas", "ppm", "valid_from = 2025-01-01\nvalid_to = 2025-01-01"),
        limit_entry("no", "gas", "ppm", "valid_from = 2025-01-01").replace("1.0", "nan").replace("\"test\"", "\" \""),
    ];
    let (text, line) = with(&entries.join("\n"));
    let found = problems(&text);
    let words = ["horse", "valid_from is not a day", "valid_to is not after", "finite", "source is empty"];
    for word in words {
        assert!(found.iter().any(|(at, problem)| *at >= line && problem.contains(word)), "{word}: {found:?}");
    }
    assert_eq!(found.len(), words.len(), "{found:?}");
}

#[test]
fn unknown_keys_and_broken_toml_name_the_line() {
    let (text, line) = with("[[list]]\nname = \"x\"\ncolour = 3");
    assert!(
        matches!(&problems(&text)[..], [(at, problem)] if *at >= line && problem.contains("colour")),
        "unknown key"
    );
    assert!(matches!(&problems("version = ")[..], [(1, _)]));
}

#[test]
fn a_table_that_moved_says_where_to() {
    let text = "[nonroad]\nmin_stage = 3\nstandard = \"S\"\nclause = \"1\"\nsource = \"t\"\nconfidence = \"sourced\"";
    let (text, line) = with(text);
    assert!(matches!(&problems(&text)[..], [(at, problem)] if *at == line && problem.contains("[[rule.R11]]")));
}

#[test]
fn a_list_cannot_claim_the_name_of_a_vehicle_rule() {
    let entry = "[[list]]\nname = \"retire_n3\"\nrule = \"R2.listed_on_road\"\neffect = \"violation\"\n\
                 intercept = true\nsource = \"t\"";
    let (text, line) = with(entry);
    assert!(matches!(&problems(&text)[..], [(at, problem)] if *at == line && problem.contains("vehicle rules")));
}

#[test]
fn lists_are_named_once_and_review_stops_nobody() {
    let entry = "[[list]]\nname = \"high_emission\"\nrule = \"r\"\neffect = \"violation\"\nintercept = true\nsource = \"t\"\n\
                 [[list]]\nname = \"y\"\nrule = \"r\"\neffect = \"review\"\nintercept = true\nsource = \"t\"";
    let found = problems(&with(entry).0);
    assert!(found.iter().any(|(_, problem)| problem.contains("further up already")), "{found:?}");
    assert!(found.iter().any(|(_, problem)| problem.contains("cannot ask")), "{found:?}");
}

#[test]
fn inspections_that_reset_and_lists_that_bar_are_checked() {
    let limits = Limits::built_in();
    assert_eq!(limits.episode().reset_kinds().collect::<Vec<_>>(), [InspectionKind::Recheck]);
    assert_eq!(limits.bars().len(), 2);
    let without = BUILT_IN.replacen("[episode.reset]\nkinds = [\"recheck\"]", "[episode.reset]\nkinds = []", 1);
    assert_eq!(Limits::parse(&without).expect("nothing resets").episode().reset_kinds().count(), 0);
    let wrong = BUILT_IN.replacen("kinds = [\"recheck\"]", "kinds = [\"visit\"]", 1);
    assert!(matches!(&problems(&wrong)[..], [(_, problem)] if problem.contains("\"visit\" is none of annual")));
    let entry = "[[bar]]\nlist = \"x\"\nbars = [\"parking\"]\nfuel = [\"coal\"]\nmax_stage = 9\nstandard = \"S\"\n\
                 clause = \"1\"\nsource = \"t\"\nconfidence = \"sourced\"";
    let (text, line) = with(entry);
    let found = problems(&text);
    for word in ["parking", "coal", "max_stage"] {
        assert!(found.iter().any(|(at, problem)| *at == line && problem.contains(word)), "{word}: {found:?}");
    }
}
