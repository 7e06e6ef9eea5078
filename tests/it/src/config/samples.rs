//! The samples: edits of the usual configuration. Holds no code.

/// A path of keys and positions, and the TOML value put there; an empty value removes. The path to
/// a list with a value adds to the list's end.
pub type Edit = (&'static str, &'static str);

const CLEAR: &str = "{ bind = \"127.0.0.1:0\", caller = \"one-window\" }";
const FINGERPRINT: &str = "\"9F:86:D0:81:88:4C:7D:65:9A:2F:EA:A0:C5:5A:D0:15:\
    A3:BF:4F:1B:2B:0B:82:2C:D1:5D:6C:15:B0:F0:0A:08\"";

pub const VALID: &[(&str, &[Edit])] = &[
    ("the usual one", &[]),
    ("no revocation lists", &[("listener.crl_files", "")]),
    (
        "a caller by fingerprint",
        &[("callers.1.san_uri", ""), ("callers.1.fingerprint_sha256", FINGERPRINT)],
    ),
    (
        "in clear on loopback for a bench",
        &[("profile", "\"bench\""), ("listener.dangerous_clear", CLEAR)],
    ),
    (
        "in clear over IPv6 for a demo",
        &[
            ("profile", "\"demo\""),
            ("listener.dangerous_clear", "{ bind = \"[::1]:0\", caller = \"one-window\" }"),
        ],
    ),
    (
        "two people",
        &[
            ("profile", "\"production\""),
            ("admin.two_people", "true"),
            (
                "admin.accounts",
                "[{ name = \"wang\", uid = 1001, roles = [\"operator\", \"auditor\"] }, \
                 { name = \"li\", uid = 1002, roles = [\"security\"] }]",
            ),
        ],
    ),
    ("a department switched off", &[("departments.social-insurance.switched_off", "true")]),
    ("asks only written", &[("log.ask", "\"written\"")]),
    ("a caller that is a system", &[("callers.1.channel", "\"system\"")]),
    ("the longest deadline", &[("departments.civil-registry.deadline_ms", "60000")]),
    (
        "one department alone",
        &[("departments.social-insurance", ""), ("grants.0.predicates", "[\"civil-registry/*\"]")],
    ),
];

pub const INVALID: &[(&str, &[Edit])] = &[
    ("time-zone-unknown", &[("civil_time_zone", "\"Asia/Nowhere\"")]),
    ("time-zone-missing", &[("civil_time_zone", "")]),
    ("catalogue-missing", &[("catalogue_dir", "\"nowhere\"")]),
    ("key-unknown-top", &[("requests_max", "1")]),
    ("key-unknown-listener", &[("listener.conections_max", "1")]),
    ("key-unknown-department", &[("departments.civil-registry.deadline_s", "5")]),
    (
        "key-unknown-endpoint",
        &[("departments.civil-registry.endpoints.registry.follow_redirects", "true")],
    ),
    ("key-unknown-grant", &[("grants.0.until", "2027")]),
    ("policy-file-missing", &[("policy", "{ files = [\"nowhere.cedar\"] }")]),
    ("channel-unknown", &[("callers.0.channel", "\"fax\"")]),
    (
        "department-policy-without-key",
        &[("departments.civil-registry.policy", "{ file = \"registry.cedar\" }")],
    ),
    ("profile-unknown", &[("profile", "\"test\"")]),
    ("ask-durability-unknown", &[("log.ask", "\"lazy\"")]),
    ("number-is-text", &[("listener.body_bytes_max", "\"64 KiB\"")]),
    ("number-is-negative", &[("listener.requests_max", "-1")]),
    ("bind-without-port", &[("listener.bind", "\"127.0.0.1\"")]),
    ("connections-none", &[("listener.connections_max", "0")]),
    (
        "clear-in-production",
        &[
            ("profile", "\"production\""),
            ("admin.two_people", "true"),
            ("listener.dangerous_clear", CLEAR),
        ],
    ),
    ("one-person-in-production", &[("profile", "\"production\"")]),
    (
        "accounts-wrong",
        &[(
            "admin.accounts",
            "[{ name = \"\", uid = 1, roles = [\"operator\"] }, \
             { name = \"li\", uid = 1, roles = [] }]",
        )],
    ),
    (
        "account-with-an-unknown-role",
        &[("admin.accounts", "[{ name = \"wang\", uid = 1, roles = [\"root\"] }]")],
    ),
    (
        "clear-off-loopback",
        &[
            ("profile", "\"bench\""),
            ("listener.dangerous_clear", "{ bind = \"0.0.0.0:0\", caller = \"one-window\" }"),
        ],
    ),
    (
        "clear-for-nobody",
        &[
            ("profile", "\"bench\""),
            ("listener.dangerous_clear", "{ bind = \"127.0.0.1:0\", caller = \"nobody\" }"),
        ],
    ),
    (
        "clear-everything-wrong",
        &[
            ("profile", "\"production\""),
            ("admin.two_people", "true"),
            ("listener.dangerous_clear", "{ bind = \"192.0.2.1:0\", caller = \"nobody\" }"),
        ],
    ),
    ("caller-unnamed", &[("callers.1.san_uri", "")]),
    ("caller-named-twice", &[("callers.1.fingerprint_sha256", FINGERPRINT)]),
    ("caller-uri-relative", &[("callers.1.san_uri", "\"district/one-window\"")]),
    (
        "caller-fingerprint-short",
        &[("callers.1.san_uri", ""), ("callers.1.fingerprint_sha256", "\"9F:86\"")],
    ),
    ("caller-id-invalid", &[("callers.1.id", "\"Other Window\"")]),
    (
        "callers-with-one-certificate",
        &[("callers.1.san_uri", "\"urn:example:district:one-window\"")],
    ),
    (
        "callers-with-one-fingerprint",
        &[
            ("callers.0.san_uri", ""),
            ("callers.0.fingerprint_sha256", FINGERPRINT),
            ("callers.1.san_uri", ""),
            (
                "callers.1.fingerprint_sha256",
                "\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"",
            ),
        ],
    ),
    ("callers-with-one-id", &[("callers.1.id", "\"one-window\"")]),
    ("grant-of-unknown-caller", &[("grants.1.caller", "\"third-window\"")]),
    (
        "grant-of-unknown-predicate",
        &[("grants.1.predicates", "[\"civil-registry/age-at-most@1\"]")],
    ),
    ("grant-for-unknown-purpose", &[("grants.1.purposes", "[\"curiosity\"]")]),
    ("grant-for-purpose-not-allowed", &[("grants.1.purposes", "[\"housing-subsidy\"]")]),
    ("grants-with-one-id", &[("grants.1.id", "\"everything\"")]),
    ("quota-without-burst", &[("quotas.caller.burst", "0")]),
    (
        "protection-too-wide",
        &[
            ("departments.civil-registry.protection.concurrency_max", "1025"),
            ("departments.civil-registry.protection.wait_ms_max", "10001"),
            ("departments.civil-registry.protection.breaker.failures_max", "0"),
        ],
    ),
    ("in-flight-none", &[("in_flight_max", "0")]),
    ("deadline-none", &[("departments.civil-registry.deadline_ms", "0")]),
    ("deadline-too-long", &[("departments.civil-registry.deadline_ms", "60001")]),
    ("component-missing", &[("departments.civil-registry.component", "\"nowhere.wasm\"")]),
    (
        "department-unknown",
        &[("departments.land-records", "{ component = \"gateway.crt\", endpoints = {} }")],
    ),
    (
        "department-id-invalid",
        &[("departments.Land Records", "{ component = \"gateway.crt\", endpoints = {} }")],
    ),
    (
        "endpoint-url-not-http",
        &[("departments.civil-registry.endpoints.registry.base_url", "\"ftp://registry.example\"")],
    ),
    (
        "endpoint-url-with-user",
        &[(
            "departments.civil-registry.endpoints.registry.base_url",
            "\"http://me:pw@registry.example\"",
        )],
    ),
    ("endpoint-allows-nothing", &[("departments.civil-registry.endpoints.registry.allow", "[]")]),
    (
        "endpoint-soap-by-get",
        &[("departments.civil-registry.endpoints.registry.allow.0.method", "\"GET\"")],
    ),
    (
        "endpoint-secret-missing",
        &[(
            "departments.civil-registry.endpoints.registry.credential",
            "{ kind = \"basic\", user = \"gateway\", password_file = \"nowhere\" }",
        )],
    ),
    (
        "endpoint-secret-in-clear",
        &[(
            "departments.civil-registry.endpoints.registry.credential",
            "{ kind = \"basic\", user = \"gateway\", password = \"secret\" }",
        )],
    ),
    (
        "endpoint-roots-missing",
        &[
            (
                "departments.civil-registry.endpoints.registry.base_url",
                "\"https://registry.example\"",
            ),
            ("departments.civil-registry.endpoints.registry.tls", "{ roots_file = \"nowhere\" }"),
        ],
    ),
];

/// Whole files.
pub const RAW: &[(&str, &str)] = &[
    ("file-empty", ""),
    ("file-no-toml", "[listener\nbind = 1\n"),
    ("file-key-twice", "profile = \"demo\"\nprofile = \"bench\"\n"),
];
