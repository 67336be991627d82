use super::*;

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn with_file(text: &str) -> Result<Effective, Problems> {
    load(Some((text, Path::new("dw.toml"))), &[], &[])
}

fn problems(text: &str) -> Vec<String> {
    with_file(text).unwrap_err().0.iter().map(Problem::to_string).collect()
}

#[test]
fn the_built_in_file_is_whole_and_right() {
    let config = Config::built_in().unwrap();
    assert_eq!(config.source.len(), 4);
    assert!(config.kafka.is_none() && config.mqtt.tls.is_none() && config.database.password.is_none());
    assert_eq!(config.source[0].hex_pointers, config.source[1].hex_pointers, "both ways to leave a key out agree");
}

/// Names `serde` expects in a table, out of its own refusal of an impossible one.
fn fields_of<T: serde::de::DeserializeOwned + std::fmt::Debug>() -> Vec<String> {
    let error = toml::from_str::<T>("\"\" = 1").unwrap_err();
    error.message().split('`').skip(3).step_by(2).map(String::from).collect()
}

#[test]
fn the_table_of_keys_names_every_field_of_the_types_in_order() {
    for (section, fields) in [
        ("", fields_of::<Config>()),
        ("service", fields_of::<Service>()),
        ("mqtt", fields_of::<Mqtt>()),
        ("mqtt.tls", fields_of::<Tls>()),
        ("source", fields_of::<Source>()),
        ("database", fields_of::<Database>()),
        ("kafka", fields_of::<Kafka>()),
        ("http", fields_of::<Http>()),
        ("judge", fields_of::<Judge>()),
        ("judge.plates", fields_of::<Plates>()),
        ("signature", fields_of::<Signature>()),
        ("retention", fields_of::<Retention>()),
        ("import", fields_of::<Import>()),
    ] {
        let (mut table, mut fields) = (keys::children(section), fields);
        table.sort_unstable();
        fields.sort_unstable();
        assert_eq!(table, fields, "[{section}]");
    }
}

#[test]
fn the_annotated_file_shows_every_key_and_its_optional_lines_are_right() {
    for key in keys::KEYS {
        let name = key.name();
        let shown = DEFAULT_TOML.lines().any(|line| line.trim_start_matches('#').starts_with(&format!("{name} =")));
        assert!(shown, "{} is not in the default file", key.path);
    }
    let folder = tempfile::tempdir().unwrap();
    let any_file = folder.path().join("file");
    std::fs::write(&any_file, "").unwrap();
    let uncommented: String = DEFAULT_TOML
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with('[') || rest.split_once(" = ").is_some_and(|(k, _)| !k.contains(' ')) => {
                rest
            }
            _ => line,
        })
        .map(|line| match line.split_once(" = \"/etc") {
            Some((name, _)) => format!("{name} = {:?}\n", any_file.display().to_string()),
            None => format!("{line}\n"),
        })
        .map(|line| line.replace("password = \"\"", "password = \"x\"").replace("mqtt://127", "mqtts://127"))
        .collect();
    let effective = with_file(&uncommented).unwrap();
    let config = effective.config;
    let kafka = config.kafka.unwrap();
    assert_eq!(kafka.properties["security.protocol"], "sasl_ssl");
    assert!(config.mqtt.tls.unwrap().cert_file.is_some() && kafka.password.is_some());
}

#[test]
fn later_layers_win_and_each_value_knows_its_origin() {
    let file = "[database]\nwriters = 3\nbatch_readings = 200\n[http]\nlisten = \"0.0.0.0:1\"\n";
    let env = pairs(&[
        ("DIESELWATCH__DATABASE__BATCH_READINGS", "300"),
        ("DIESELWATCH__HTTP__LISTEN", "0.0.0.0:2"),
        ("DIESELWATCH__SOURCE__1__PLAUSIBLE_PAST_DAYS", "20000"),
        ("DIESELWATCH__DATABASE__PASSWORD", "geheim"),
        ("DIESELWATCH__MQTT__USERNAME", ""),
        ("DIESELWATCH_CONFIG", "none of ours"),
    ]);
    let set = pairs(&[("http.listen", "127.0.0.1:0"), ("source[0].unknown_device", "quarantine")]);
    let effective = load(Some((file, Path::new("dw.toml"))), &env, &set).unwrap();
    let config = &effective.config;
    assert_eq!((config.database.writers, config.database.batch_readings), (3, 300));
    assert_eq!(config.http.listen.port(), 0);
    assert_eq!(config.source[1].plausible_past_days, 20_000);
    assert_eq!(config.source[0].unknown_device, UnknownDevice::Quarantine);
    assert!(config.mqtt.username.is_none(), "an empty variable of an optional key is not set");

    let printed = effective.to_toml();
    let origin_of =
        |key: &str| printed.lines().find(|line| line.starts_with(key)).unwrap().split_once(" # ").unwrap().1;
    assert_eq!(origin_of("writers"), "dw.toml:2:1");
    assert_eq!(origin_of("batch_readings"), "env DIESELWATCH__DATABASE__BATCH_READINGS");
    assert_eq!(origin_of("listen"), "--set");
    assert_eq!(origin_of("linger_ms"), "default");
    assert!(!printed.contains("geheim") && printed.contains("password = \"(redacted)\""));
}

#[test]
fn what_check_config_prints_is_a_configuration_with_the_same_meaning() {
    let effective =
        with_file("[kafka]\nbrokers = \"a:1\"\ntransactional_id = \"t\"\nproperties.linger.ms = 5\n").unwrap();
    let again = with_file(effective.to_toml()).unwrap();
    assert_eq!(format!("{:?}", again.config), format!("{:?}", effective.config));
    assert_eq!(again.config.kafka.unwrap().properties["linger.ms"], "5");
}

#[test]
fn without_a_group_there_is_one_connection() {
    let alone = with_file("[mqtt]\ngroup = \"\"\nconnections = 1\n").unwrap();
    assert!(alone.config.mqtt.group.is_empty());
    let found = with_file("[mqtt]\ngroup = \"\"\n").unwrap_err();
    assert!(found.to_string().contains("mqtt.connections must be 1"), "{found}");
}

#[test]
fn every_mistake_is_reported_at_once_with_its_place() {
    let text = "\
[mqtt]
conections = 3
receive_maximum = 70000
url = 5
[databse]
[database]
batch_readings = 4000
[retention]
readings_days = 700
compress_after_days = 6
[judge]
plate_confidence_min = 1.5
";
    let env = pairs(&[
        ("DIESELWATCH__MQTT__GRUOP", "x"),
        ("DIESELWATCH__SOURCE__9__NAME", "x"),
        ("DIESELWATCH_MQTT__URL", "x"),
    ]);
    let set = pairs(&[("database.writers", "none")]);
    let found = load(Some((text, Path::new("dw.toml"))), &env, &set).unwrap_err();
    let lines: Vec<String> = found.0.iter().map(Problem::to_string).collect();
    let expect = |part: &str| assert!(lines.iter().any(|line| line.contains(part)), "{part}\n{lines:#?}");
    expect("dw.toml:2:1: mqtt.conections: unknown key \"conections\"; is \"connections\" meant?");
    expect("dw.toml:3:1: mqtt.receive_maximum: 70000 is outside 2..=65535");
    expect("dw.toml:4:1: mqtt.url: expected a string, found integer");
    expect("dw.toml:5:2: databse: unknown key \"databse\"; is \"database\" meant?");
    expect("dw.toml:9:1: retention.readings_days: 700 is outside 732..=36500");
    expect("dw.toml:10:1: retention.compress_after_days: 6 is outside 7..=3650");
    expect("judge.plate_confidence_min: 1.5 is outside 0..=1");
    expect("env DIESELWATCH__MQTT__GRUOP: unknown key \"gruop\"; is \"group\" meant?");
    expect("env DIESELWATCH_MQTT__URL: not a setting; is DIESELWATCH__MQTT__URL meant?");
    expect("there is no source 9; entries are counted from 0 and there are 4");
    expect("--set: database.writers: expected an integer");
    assert_eq!(lines.len(), 11, "{lines:#?}");
}

#[test]
fn checks_across_keys_hold() {
    for (text, part) in [
        ("[database]\nbatch_readings = 2000", "must be below mqtt.receive_maximum"),
        ("[mqtt]\nbudget_bytes = 65536", "or one message could never be taken in"),
        ("[mqtt]\nmax_packet_bytes = 4096", "gets past the client"),
        ("[mqtt]\nbackoff_min_ms = 60000", "must be at most mqtt.backoff_max_ms"),
        ("[retention]\nraw_packets_days = 2000", "must be at most retention.readings_days"),
        ("[mqtt]\npassword = \"x\"", "a password without mqtt.username"),
        ("[mqtt]\nurl = \"mqtts://b\"", "mqtts:// needs [mqtt.tls]"),
        ("[mqtt.tls]\nca_file = \"/nowhere/ca\"", "there is no file"),
        ("[kafka]\nbrokers = \"a:1\"", "kafka.transactional_id: missing"),
        ("[kafka]\nbrokers = \"a:1\"\ntransactional_id = \"t\"\nproperties.acks = 1", "the service sets it"),
        ("[[source]]\nname = \"a\"\nkind = \"obd\"", "source[0].filter: missing"),
        ("source = []", "there must be 1 to 64"),
        ("[source]\nname = \"a\"", "expected a list of tables"),
        ("[database]\nurl = \"host=/x password=y\"", "set database.password instead"),
        ("[mqtt\n", "dw.toml:1:"),
        ("[signature]\nform = \"raw\"\nsigned_lengths = \"both\"", "has length bytes that could be signed"),
        ("[signature]\nuser_id = \"\"", "must have 1 to 8191 bytes"),
        ("[signature]\nmode = \"fulll\"", "is \"full\" meant?"),
        ("[judge]\nlimits_file = \"/nowhere/limits.toml\"", "there is no file"),
    ] {
        let found = problems(text);
        assert!(found.iter().any(|line| line.contains(part)), "{text}\n{found:#?}");
    }
}

#[test]
fn sources_in_a_file_replace_the_default_ones_and_must_not_meet() {
    let one = "[[source]]\nname = \"a\"\nkind = \"obd\"\nfilter = \"x/+/f\"\n";
    let config = with_file(one).unwrap().config;
    assert_eq!(config.source.len(), 1);
    assert_eq!(config.source[0].plausible_past_days, 400);
    let found = problems(&format!("{one}{one}"));
    assert!(found[0].contains("source[0] has the same name") && found[1].contains("a topic could match"), "{found:?}");
}

#[test]
fn passwords_leave_the_urls_before_anyone_can_print_them() {
    use secrecy::ExposeSecret as _;
    let text = "[mqtt]\nurl = \"mqtt://me:ge%40heim@b:1\"\n[database]\nurl = \"postgres://me:ge%40heim@h:5432/d\"\n\
                [kafka]\nbrokers = \"a:1\"\ntransactional_id = \"t\"\nproperties.ssl.key.password = \"ge@heim\"\n";
    let effective = with_file(text).unwrap();
    let config = &effective.config;
    assert_eq!(config.mqtt.url, "mqtt://b:1");
    assert_eq!(config.mqtt.username.as_deref(), Some("me"));
    assert_eq!(config.mqtt.password.as_ref().unwrap().expose_secret(), "ge@heim");
    assert_eq!(config.database.url, "postgres://me@h:5432/d");
    assert_eq!(config.database.password.as_ref().unwrap().expose_secret(), "ge@heim");
    for shown in [format!("{effective:?}"), effective.to_toml().to_owned()] {
        assert!(!shown.contains("heim"), "{shown}");
    }
    // In other forms it cannot be taken out, so that it is refused, and not shown.
    for url in [
        "postgres://me@h/d?password=geheim",
        "postgres://me:geheim@h:5432,i:5432/d",
        "postgres://me:geheim@/d?host=/run/pg",
        "host=h user=me password=geheim",
    ] {
        let text = format!("[database]\nurl = \"{url}\"\n");
        match with_file(&text) {
            Ok(effective) => {
                let shown = format!("{effective:?}{}", effective.to_toml());
                assert!(!shown.contains("geheim"), "{url}: {shown}");
            }
            Err(problems) => {
                let told = problems.to_string();
                assert!(told.contains("database.password") && !told.contains("geheim"), "{url}: {told}");
            }
        }
    }
    // A secret of its own wins over the URL's.
    let env = pairs(&[("DIESELWATCH__DATABASE__PASSWORD", "other")]);
    let config = load(Some((text, Path::new("dw.toml"))), &env, &[]).unwrap().config;
    assert_eq!(config.database.password.unwrap().expose_secret(), "other");
}
