// Every word of the page in both languages, and the choice between them.

const WORDS = {
  zh: {
    title: "移动源排放监控", map: "辖区态势", zone: "控制区", station: "遥感点位", obd: "车载终端", retrofit: "治理装置",
    nonroad: "非道路机械", findings: "违规发现", newest: "最新", throughput: "吞吐", books: "双账", sinceStart: "自本次启动",
    quarantine: "隔离消息", close: "关闭", received: "接收消息", stored: "入库读数", today: "今日违规", intercepts: "拦截提示",
    quarantined: "隔离读数", lag: "入库时延", perSecond: "/秒", outbox: "待发事件", notInFull: "未完整发出", tasks: "待评估", sinceStartShort: "启动以来",
    messagesPerSecond: "接收（条/秒）", readingsPerSecond: "入库（条/秒）", messages: "消息", readings: "读数", source: "来源",
    settled: "已确认", inFlight: "在途", returned: "退回", decoded: "解码", duplicate: "重复", conflict: "冲突", underWay: "处理中",
    balance: "平衡", balanced: "✓ 平衡", unbalanced: "✗ 不平", noFindings: "暂无违规发现", noQuarantine: "没有被隔离的消息",
    noZones: "尚未导入任何区域、点位或位置", noSources: "尚无来源", review: "待复核", clear: "已可推送", revoked: "已撤销",
    connecting: "正在连接……", lost: "与服务的连接已断开，正在重连。以下为 {at} 的状态。", stale: "服务已更新，请刷新页面。",
    databaseAway: "数据库暂无应答；列表为最近一次的内容，计数仍实时更新。", notReady: "尚未就绪",
    broker: "MQTT", database: "数据库", clock: "时钟", kafka: "Kafka", lists: "名录",
    starting: "启动中", up: "正常", degraded: "部分可用", down: "不可用", unread: "未识别", unnamed: "未登记",
    limit: "限值", evidence: "原始证据", intact: "校验一致", changed: "校验不符！", explained: "依据", failed: "读取失败：",
    onMap: "{stations} 个点位 · {movers} 台在线", peak: "峰值", seconds: "秒", zoneWord: "区域", stage: "阶段", codes: "故障码",
    lastPassage: "最近过车", replayed: "已回放", topic: "主题", other: "English",
  },
  en: {
    title: "Mobile source emissions", map: "District", zone: "Control zone", station: "Remote-sensing station", obd: "OBD terminal",
    retrofit: "Retrofit", nonroad: "Non-road machine", findings: "Findings", newest: "newest first", throughput: "Throughput",
    books: "Both books", sinceStart: "since this start", quarantine: "Quarantine", close: "Close", received: "Messages received",
    stored: "Readings stored", today: "Findings today", intercepts: "Intercepts", quarantined: "Quarantined", lag: "Commit lag",
    perSecond: "/s", outbox: "events unsent", notInFull: "not in full", tasks: "to evaluate", sinceStartShort: "since start",
    messagesPerSecond: "received (messages/s)", readingsPerSecond: "stored (readings/s)", messages: "messages",
    readings: "readings", source: "source", settled: "settled", inFlight: "in flight", returned: "returned", decoded: "decoded",
    duplicate: "duplicate", conflict: "conflict", underWay: "under way", balance: "balance", balanced: "✓ balanced",
    unbalanced: "✗ off", noFindings: "No findings yet", noQuarantine: "Nothing is quarantined",
    noZones: "No zones, stations or positions yet", noSources: "No sources yet", review: "needs review", clear: "may go out",
    revoked: "revoked", connecting: "Connecting…", lost: "Lost the service, reconnecting. This is the state of {at}.",
    stale: "The service was updated: please reload.",
    databaseAway: "The database does not answer; lists show what was last read, counters are live.", notReady: "not ready",
    broker: "MQTT", database: "Database", clock: "Clock", kafka: "Kafka", lists: "Lists", starting: "starting", up: "up", degraded: "degraded",
    down: "down", unread: "unread", unnamed: "not registered", limit: "limit", evidence: "Raw evidence", intact: "digest holds",
    changed: "digest differs!", explained: "Why", failed: "Could not read: ", onMap: "{stations} stations · {movers} online",
    peak: "peak", seconds: "s", zoneWord: "zone", stage: "stage", codes: "trouble codes", lastPassage: "last passage",
    replayed: "replayed", topic: "topic", other: "中文",
  },
};

// What rules, pollutants and reasons are called; one that is not here shows its own name.
const NAMES = {
  zh: {
    "HJ845.over": "遥测超标", "HJ845.consecutive": "六个月内连续超标", "R2.listed_on_road": "淘汰名录车辆上路",
    "R1.to_eliminate_on_road": "应淘汰柴油车上路", "R3.old_gas_on_road": "老旧燃气车上路", "R4.retrofit_required": "应加装污染控制装置",
    "R5.scrap_age_on_road": "达到使用年限车辆上路", "R6.uninspected_on_road": "连续三个周期未检车辆上路", "R7.unrepairable_on_road": "维修后仍超标车辆上路",
    "R8.scrapped_on_road": "报废车辆上路", "list.high_emission_on_road": "高排放名录车辆上路",
    "R9.low_emission_zone": "违反低排放区规定", "R10.heavy_pollution_ban": "违反重污染天气限行",
    "R11.nonroad_site_entry": "低阶段机械进入工地", "GB36886.smoke": "机械排气烟度超标（待核）",
    "R11.nonroad_below_stage": "低阶段机械进入控制区", "terminal.removal_alarm": "终端拆除报警",
    "HJ845.suspected_over": "疑似柴油车超标", "plate.suspected_match": "疑似名录车辆（号牌误读）",
    "plate.suspected_clone": "疑似套牌", plate_suspected: "号牌疑似误读", fuel_suspected: "燃料仅为推测",
    plate_seen_at_two_places: "同一号牌出现在两地",
    "terminal.lamp_on": "故障灯亮且有故障码", "terminal.nox_over_limit": "下游 NOx 持续超限",
    opacity: "不透光度", ringelmann: "林格曼", no: "NO", co: "CO", hc: "HC", nox_downstream: "下游 NOx", level: "级",
    retire_n2: "国二淘汰", retire_n3: "国三淘汰", scrapped: "报废", high_emission: "高排放", inspection_overdue: "逾期未检",
    plate_folded: "号牌含 O 或 I，按 0、1 处理",
    plate_confidence_low: "号牌识别置信度低", plate_confidence_missing: "未给识别置信度", match_not_exact: "未精确匹配",
    vehicle_kind_contradicts_register: "车型与登记不符", a_reading_needs_review: "含待复核读数",
    topic_unknown: "未知主题", too_large: "过大", not_json: "不是 JSON", wrong_type: "类型错误", missing_field: "缺少字段",
    nul_character: "含 NUL 字符", out_of_range: "超出范围", too_many_elements: "元素过多", no_start_marker: "无起始符",
    truncated: "截断", length_mismatch: "长度不符", checksum_mismatch: "校验和错误", unknown_command: "未知命令",
    encrypted: "加密单元", no_dialect_fits: "无匹配方言", ambiguous_command: "命令歧义", not_hex: "不是十六进制",
    identity_mismatch: "身份不符", time_implausible: "时间不合理", plate_impossible: "号牌格式不可能",
    unknown_station: "未知点位", unknown_device: "未知终端", refused_by_store: "存储拒绝", conflict: "内容冲突",
    rs: "遥感", fixed_vertical: "垂直固定式", fixed_horizontal: "水平固定式", mobile: "移动式", black_smoke: "黑烟抓拍",
  },
  en: {
    "HJ845.over": "Over the limit at the roadside", "HJ845.consecutive": "Over repeatedly within six months",
    "R1.to_eliminate_on_road": "Diesel vehicle to be eliminated on the road", "R3.old_gas_on_road": "Old gas vehicle on the road",
    "R4.retrofit_required": "Retrofit required", "R5.scrap_age_on_road": "Service life reached, on the road",
    "R6.uninspected_on_road": "Three inspection cycles missed, on the road", "R7.unrepairable_on_road": "Over the limit after repair, on the road",
    "R2.listed_on_road": "Vehicle to be retired on the road", "R8.scrapped_on_road": "Scrapped vehicle on the road",
    "R9.low_emission_zone": "Truck in a low-emission zone", "R10.heavy_pollution_ban": "Barred by a heavy-pollution warning",
    "R11.nonroad_site_entry": "Machine below the stage on a site", "GB36886.smoke": "Machine's smoke over the limit (to be checked)",
    "list.high_emission_on_road": "High-emission vehicle on the road", "R11.nonroad_below_stage": "Machine below the stage in a zone",
    "terminal.removal_alarm": "Terminal removed", "terminal.lamp_on": "Lamp on with trouble codes",
    "HJ845.suspected_over": "Suspected diesel over the limit", "plate.suspected_match": "Perhaps a listed vehicle, plate misread",
    "plate.suspected_clone": "Perhaps a cloned plate", "terminal.nox_over_limit": "Downstream NOx over the limit", opacity: "opacity", ringelmann: "Ringelmann", no: "NO",
    nox_downstream: "NOx downstream",
  },
};

let language = localStorage.getItem("language") === "en" ? "en" : "zh";

export const locale = () => (language === "zh" ? "zh-CN" : "en-GB");

export function word(key, values = {}) {
  return WORDS[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export const named = (key) => NAMES[language][key] ?? key;

export function other() {
  language = language === "zh" ? "en" : "zh";
  localStorage.setItem("language", language);
}

// Fills everything that stands in the page itself.
export function translate() {
  document.documentElement.lang = locale();
  document.title = `dieselwatch · ${word("title")}`;
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = word(element.dataset.word);
}
