//! What a broker says of itself in CONNACK, compared with what nothing can be promised without.

use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::ConnAckProperties;

use crate::config::Mqtt;

/// What a broker that will do still lacks, for people; or why it will not do, and what to do about it. Absent properties
/// mean that nothing is lacking (MQTT 5.0, 3.2.2.3).
pub(super) fn judge(said: &ConnAckProperties, config: &Mqtt) -> Result<Vec<String>, String> {
    let no = |property: Option<u8>| property == Some(0);
    if no(said.max_qos) {
        let why = "the broker grants QoS 0 only, so that messages would be lost without a word: \
                   nothing is read from it; allow QoS 1 (mosquitto: max_qos 1)";
        return Err(why.into());
    }
    if no(said.wildcard_subscription_available) {
        let why = "the broker takes no subscription with wildcards, and sources have filters with +: \
                   nothing is read from it; allow them or use another broker";
        return Err(why.into());
    }
    if no(said.shared_subscription_available) && !config.group.is_empty() {
        let why = "the broker has no shared subscriptions: nothing is read from it; \
                   set mqtt.group = \"\" and mqtt.connections = 1, or use another broker";
        return Err(why.into());
    }
    if said.assigned_client_identifier.is_some() {
        let why = "the broker gave us a client id of its own, under which our session would not be found again: \
                   nothing is read from it; let it take the ids that begin with mqtt.client_id_prefix";
        return Err(why.into());
    }
    let mut lacks = Vec::new();
    if let Some(kept) = said.session_expiry_interval
        && kept < config.session_expiry_seconds
    {
        lacks.push(format!(
            "the broker keeps our session for {kept} s instead of the {} s of mqtt.session_expiry_seconds: what is published \
             while we are away for longer is lost",
            config.session_expiry_seconds
        ));
    }
    if no(said.retain_available) {
        lacks.push(
            "the broker keeps no retained messages: which devices are online is known only as they change".into(),
        );
    }
    Ok(lacks)
}

/// How often we have to be heard: as the broker says, or else as configured.
pub(super) fn keep_alive(said: Option<&ConnAckProperties>, configured: Duration) -> Duration {
    match said.and_then(|said| said.server_keep_alive) {
        None | Some(0) => configured,
        Some(seconds) => Duration::from_secs(seconds.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn nothing_said() -> ConnAckProperties {
        ConnAckProperties {
            session_expiry_interval: None,
            receive_max: None,
            max_qos: None,
            retain_available: None,
            max_packet_size: None,
            assigned_client_identifier: None,
            topic_alias_max: None,
            reason_string: None,
            user_properties: Vec::new(),
            wildcard_subscription_available: None,
            subscription_identifiers_available: None,
            shared_subscription_available: None,
            server_keep_alive: None,
            response_information: None,
            server_reference: None,
            authentication_method: None,
            authentication_data: None,
        }
    }

    #[test]
    fn what_a_broker_lacks_is_named() {
        let mqtt = Config::built_in().expect("the default").mqtt;
        let judged = |change: fn(&mut ConnAckProperties)| {
            let mut said = nothing_said();
            change(&mut said);
            judge(&said, &mqtt)
        };
        assert_eq!(judged(|_| ()), Ok(Vec::new()));
        let all = |said: &mut ConnAckProperties| {
            (said.max_qos, said.shared_subscription_available, said.retain_available) = (Some(1), Some(1), Some(1));
        };
        assert_eq!(judged(all), Ok(Vec::new()));
        let refused = |change: fn(&mut ConnAckProperties), word: &str| {
            let why = judged(change).expect_err(word);
            assert!(why.contains(word) && why.contains("nothing is read"), "{why}");
        };
        refused(|said| said.max_qos = Some(0), "QoS 0");
        refused(|said| said.shared_subscription_available = Some(0), "mqtt.group");
        refused(|said| said.wildcard_subscription_available = Some(0), "wildcards");
        refused(|said| said.assigned_client_identifier = Some("auto-1".into()), "client id");
        let lacks = judged(|said| said.session_expiry_interval = Some(60)).expect("it will do");
        assert!(lacks.len() == 1 && lacks[0].contains("for 60 s"), "{lacks:?}");
        assert_eq!(judged(|said| said.session_expiry_interval = Some(u32::MAX)), Ok(Vec::new()));
        assert_eq!(judged(|said| said.retain_available = Some(0)).map(|lacks| lacks.len()), Ok(1));
        let alone = Mqtt { group: String::new(), ..mqtt.clone() };
        let said = ConnAckProperties { shared_subscription_available: Some(0), ..nothing_said() };
        assert_eq!(judge(&said, &alone), Ok(Vec::new()), "nobody asks for one");
    }

    #[test]
    fn the_brokers_keep_alive_counts() {
        let ours = Duration::from_secs(60);
        let said = |seconds| ConnAckProperties { server_keep_alive: seconds, ..nothing_said() };
        assert_eq!(keep_alive(None, ours), ours);
        assert_eq!(keep_alive(Some(&said(None)), ours), ours);
        assert_eq!(keep_alive(Some(&said(Some(20))), ours), Duration::from_secs(20));
        assert_eq!(keep_alive(Some(&said(Some(0))), ours), ours, "it does not ask for any");
    }
}
