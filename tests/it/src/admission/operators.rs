//! Operators' tokens: whose they are, for whom they are good, and what happens without their keys.

use std::fs;
use std::time::Duration;

use jumpgate_querylog::{FieldId, Kind};
use serde_json::{Value, json};

use crate::harness::questions::{WIDOW, age, batch, but, under_id};
use crate::harness::tokens::{
    ISSUER_OF_WINDOW, KeyServer, SigningKey, claims, encoded, jwk_set, thumbprint,
};
use crate::harness::{Client, Ground, Harness, Reply, Setup, eventually};
use crate::http::assert_problem;

async fn ask(client: &mut Client, token: Option<&str>, question: &Value) -> Reply {
    let json = ("content-type", "application/json");
    let headers: Vec<(&str, &str)> =
        std::iter::once(json).chain(token.map(|token| ("operator-token", token))).collect();
    let path = if question.get("questions").is_some() { "/v1/batches" } else { "/v1/queries" };
    client.send(::http::Method::POST, path, &headers, question.to_string()).await.unwrap()
}

async fn ground(keys: &[&SigningKey], overlay: &str) -> Ground {
    let ground = Setup::new().with(ISSUER_OF_WINDOW).with(overlay).ground().await;
    fs::write(ground.folder.path().join("idp.json"), jwk_set(keys)).unwrap();
    ground
}

fn good(harness: &Harness) -> Value {
    claims(harness.now_s(), &harness.identity("one-window"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_names_the_operator_and_the_entry_says_who_signed() {
    let key = SigningKey::es256("2026-1");
    let harness = ground(&[&key], "").await.start().await.unwrap();
    let mut client = harness.client("one-window").await;
    let token = key.token(&good(&harness));
    assert_eq!(ask(&mut client, Some(&token), &age(18, WIDOW)).await.says(), "yes");
    let asked = harness.records_of(Kind::Ask).pop().unwrap();
    let fields = harness.fields(&asked);
    assert_eq!(fields.text(FieldId::Operator), Some("clerk-4711"));
    assert_eq!(fields.text(FieldId::OperatorIssuer), Some("https://idp.district.example"));
    // The token names the operator; the caller has no say in it.
    let own = but(age(18, WIDOW), "operator", "somebody");
    let refused = ask(&mut client, Some(&token), &own).await;
    assert_problem(&refused, 400, "malformed-request");
    assert_eq!(refused.json["field"], "/operator");
    // Who need not send one is not asked for one, and his word stays his word.
    let mut other = harness.client("other-window").await;
    assert_eq!(other.ask(&own).await.says(), "yes");
    let asked = harness.records_of(Kind::Ask).pop().unwrap();
    let fields = harness.fields(&asked);
    assert_eq!(fields.text(FieldId::Operator), Some("somebody"));
    assert_eq!(fields.text(FieldId::OperatorIssuer), None);
    drop((client, other));
    harness.finish().await;
}

/// A token, by what is wrong with it, and words of its refusal.
type Bad = (&'static str, String, &'static str);

/// Tokens that are wrong in form, algorithm or key.
fn malformed(key: &SigningKey, edward: &SigningKey, good: &Value) -> Vec<Bad> {
    let foreign = SigningKey::es256(&key.kid);
    let header = |header: Value| key.sign(&header, good);
    let body = encoded(good.to_string().as_bytes());
    let unsigned = format!("{}.{body}.", encoded(br#"{"alg":"none"}"#));
    let hmac = format!("{}.{body}.AAAA", encoded(br#"{"alg":"HS256","kid":"2026-1"}"#));
    let critical = json!({ "alg": "ES256", "kid": "2026-1", "crit": ["b64"] });
    let mut forged = key.token(good).into_bytes();
    let place = forged.iter().position(|byte| *byte == b'.').unwrap() + 20;
    forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    vec![
        ("word", "word".to_owned(), "send a signed JWT"),
        ("long", "x".repeat(4097), "at most 4096 bytes"),
        ("none", unsigned, "send a signed JWT"),
        ("hmac", hmac, "an algorithm that is configured"),
        ("another algorithm", edward.token(good), "an algorithm that is configured"),
        ("another key", foreign.token(good), "the signature is not that of the key"),
        ("forged", forged, "the signature is not that of the key"),
        ("unknown key", header(json!({ "alg": "ES256", "kid": "1999" })), "a key of the issuer's"),
        ("no key", header(json!({ "alg": "ES256" })), "a key of the issuer's"),
        ("key of another kind", header(json!({ "alg": "ES256", "kid": "ed" })), "the key is for"),
        ("critical", header(critical), "leave \"crit\" out"),
    ]
}

/// Tokens that claim what is not so.
fn untrue(key: &SigningKey, good: &Value, now: i64, of_other: Value) -> Vec<Bad> {
    let with = |name: &str, value: Value| key.token(&but(good.clone(), name, value));
    let from_to = |iat: i64, exp: i64| key.token(&but(but(good.clone(), "iat", iat), "exp", exp));
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        key.token(&claims)
    };
    vec![
        ("issuer", with("iss", json!("https://elsewhere.example")), "iss must be"),
        ("audience", with("aud", json!("https://elsewhere.example")), "aud must name"),
        ("no audience", without("aud"), "a token has iss, aud, sub"),
        ("no subject", without("sub"), "with iss, aud, sub"),
        ("no end", without("exp"), "with iss, aud, sub"),
        ("too long", with("exp", json!(now + 901)), "for at most 900 seconds"),
        ("backwards", with("exp", json!(now - 1)), "for at most 900 seconds"),
        ("expired", from_to(now - 631, now - 31), "has expired"),
        ("from the future", from_to(now + 31, now + 600), "not good yet"),
        ("not before", with("nbf", json!(now + 31)), "not good yet"),
        ("bound to nobody", without("cnf"), "bind the token to the certificate"),
        ("bound to another", with("cnf", of_other), "bind the token to the certificate"),
        ("another question's", with("query_id", json!("0".repeat(32))), "names another query_id"),
        ("no query id", with("query_id", json!("17")), "32 hexadecimal digits"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_token_that_is_not_good_is_refused_and_the_check_is_named() {
    let (key, edward) = (SigningKey::es256("2026-1"), SigningKey::eddsa("ed"));
    let harness = ground(&[&key, &edward], "").await.start().await.unwrap();
    let mut client = harness.client("one-window").await;
    let (now, good) = (harness.now_s(), good(&harness));
    let of_other = json!({ "x5t#S256": thumbprint(&harness.identity("other-window")) });
    let table = [malformed(&key, &edward, &good), untrue(&key, &good, now, of_other)].concat();
    for (name, token, why) in &table {
        let refused = ask(&mut client, Some(token), &age(18, WIDOW)).await;
        assert_problem(&refused, 403, "operator-unproven");
        let detail = refused.json["detail"].as_str().unwrap();
        assert!(detail.contains(why), "{name}: {detail}");
    }
    let refused = ask(&mut client, None, &age(18, WIDOW)).await;
    assert_problem(&refused, 403, "operator-unproven");
    assert_eq!(harness.civil().requests().count, 0);
    assert!(harness.records_of(Kind::Refused).is_empty(), "they are counted");
    let all = table.len() as u64 + 1;
    let counted = async || (harness.coalesced("operator-unproven") == all).then_some(());
    eventually("each is counted", counted).await;
    // What the clocks may differ by is no reason.
    for (iat, exp) in [(now + 29, now + 600), (now - 629, now - 29)] {
        let token = key.token(&but(but(good.clone(), "iat", iat), "exp", exp));
        assert_eq!(ask(&mut client, Some(&token), &age(18, WIDOW)).await.says(), "yes");
    }
    drop(client);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_one_question_is_good_for_that_question() {
    let key = SigningKey::es256("2026-1");
    let harness = ground(&[&key], "").await.start().await.unwrap();
    let mut client = harness.client("one-window").await;
    let bound = key.token(&but(good(&harness), "query_id", format!("{:032x}", 7)));
    let seventh = under_id(age(18, WIDOW), 7);
    let first = ask(&mut client, Some(&bound), &seventh).await;
    assert_eq!(first.says(), "yes");
    let again = ask(&mut client, Some(&bound), &seventh).await;
    assert_eq!(again.index(), first.index(), "a repeat gets the first answer");
    let other = under_id(age(18, WIDOW), 8);
    assert_problem(&ask(&mut client, Some(&bound), &other).await, 403, "operator-unproven");
    let changed = under_id(age(60, WIDOW), 7);
    assert_problem(&ask(&mut client, Some(&bound), &changed).await, 422, "query-id-reused");
    // In a batch it vouches for its question alone; one without an id vouches for all.
    let reply = ask(&mut client, Some(&bound), &batch([seventh.clone(), other.clone()])).await;
    assert_eq!(reply.json["answers"][0]["body"]["verdict"], "yes", "{}", reply.json);
    assert_eq!(reply.json["answers"][1]["body"]["code"], "operator-unproven", "{}", reply.json);
    let token = key.token(&good(&harness));
    let reply = ask(&mut client, Some(&token), &batch([seventh, other])).await;
    assert_eq!(reply.json["answers"][1]["body"]["verdict"], "yes", "{}", reply.json);
    drop(client);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_see_an_operators_roles() {
    let key = SigningKey::es256("2026-1");
    let ground = ground(&[&key], "[policy]\nfiles = [\"roles.cedar\"]\n").await;
    let rule = "@id(\"chiefs-only\")\n\
                forbid (principal == Caller::\"one-window\", action, resource)\n\
                unless { context.operator.roles.contains(OperatorRole::\"chief\") };\n";
    fs::write(ground.folder.path().join("roles.cedar"), rule).unwrap();
    let harness = ground.start().await.unwrap();
    let mut client = harness.client("one-window").await;
    for roles in [json!([]), json!(["clerk"]), json!(["king"])] {
        let token = key.token(&but(good(&harness), "roles", roles));
        let refused = ask(&mut client, Some(&token), &age(18, WIDOW)).await;
        assert_problem(&refused, 403, "not-granted");
    }
    let token = key.token(&but(good(&harness), "roles", json!(["king", "chief"])));
    assert_eq!(ask(&mut client, Some(&token), &age(18, WIDOW)).await.says(), "yes");
    let refused = harness.records_of(Kind::Refused);
    assert!(refused.iter().all(|it| it.entry.rule.as_deref() == Some("chiefs-only")));
    drop(client);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_and_go_and_their_server_may_be_away() {
    let (first, second) = (SigningKey::es256("2026-1"), SigningKey::es256("2026-2"));
    let setup = ground(&[&first], "").await;
    let server = KeyServer::start(&setup.authority).await;
    let config = fs::read_to_string(setup.config()).unwrap();
    let url = format!(
        "keys_url = \"https://localhost:{}/keys\"\nkeys_roots_file = \"authority.crt\"",
        server.address.port()
    );
    let config = config.replace("keys_file = \"idp.json\"", &url);
    fs::write(setup.config(), config).unwrap();
    let harness = setup.start().await.unwrap();
    let mut client = harness.client("one-window").await;
    let mut says = async |key: &SigningKey| {
        let token = key.token(&good(&harness));
        ask(&mut client, Some(&token), &age(18, WIDOW)).await
    };
    let hour = Duration::from_secs(3600);
    // Nobody has seen the keys yet, and their server is away: no answer, and no "no".
    let refused = says(&first).await;
    assert_problem(&refused, 503, "operator-keys-unavailable");
    assert_eq!(refused.header("retry-after"), "10");
    server.give(Some(jwk_set(&[&first])));
    assert_problem(&says(&first).await, 503, "operator-keys-unavailable");
    assert_eq!(server.asked(), 1, "not asked again within ten seconds");
    harness.advance(Duration::from_secs(10));
    assert_eq!(says(&first).await.says(), "yes");
    assert_eq!(says(&first).await.says(), "yes");
    assert_eq!(server.asked(), 2, "kept");
    // Another key: looked for when a token names it, and not for each such token.
    server.give(Some(jwk_set(&[&second])));
    assert_problem(&says(&second).await, 503, "operator-keys-unavailable");
    assert_eq!(server.asked(), 2, "nobody can tell, and it is not asked again yet");
    harness.advance(Duration::from_secs(10));
    assert_eq!(says(&second).await.says(), "yes");
    assert_problem(&says(&first).await, 503, "operator-keys-unavailable");
    harness.advance(Duration::from_secs(10));
    assert_problem(&says(&first).await, 403, "operator-unproven");
    // Away again: what was read stays good for a day.
    server.give(None);
    for _ in 0..3 {
        harness.advance(hour);
        assert_eq!(says(&second).await.says(), "yes");
    }
    let tried = async || (server.asked() >= 7).then_some(());
    eventually("the server is asked again meanwhile", tried).await;
    harness.advance(21 * hour);
    assert_problem(&says(&second).await, 503, "operator-keys-unavailable");
    server.give(Some(jwk_set(&[&second])));
    harness.advance(Duration::from_secs(10));
    assert_eq!(says(&second).await.says(), "yes");
    assert_eq!(harness.records_of(Kind::Ask).len() as u64, harness.civil().requests().count);
    drop(client);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_cannot_be_is_a_mistake() {
    let key = SigningKey::es256("2026-1");
    let ground = ground(&[&key], "").await;
    let usual = fs::read_to_string(ground.config()).unwrap();
    let secret = r#"{ "keys": [{ "kty": "oct", "kid": "s", "k": "AAAA" }] }"#;
    fs::write(ground.folder.path().join("secret.json"), secret).unwrap();
    for (what, instead, at, mend) in [
        ("\"idp.json\"", "\"nowhere.json\"", "keys_file", "No such file"),
        ("\"idp.json\"", "\"gateway.key\"", "keys_file", "no JWK set"),
        ("\"idp.json\"", "\"secret.json\"", "keys_file", "no public signing key"),
        ("keys_file = \"idp.json\"", "", "keys_file", "either keys_file, or keys_url"),
        (
            "keys_file = \"idp.json\"",
            "keys_url = \"http://idp.example/keys\"\nkeys_roots_file = \"authority.crt\"",
            "keys_url",
            "begins with https://",
        ),
        ("[\"ES256\"]", "[]", "algorithms", "at least one of"),
        ("audience =", "skew_s_max = 61\naudience =", "skew_s_max", "0 to 60"),
        ("audience =", "lifetime_s_max = 901\naudience =", "lifetime_s_max", "1 to 900"),
        ("\"chief\"", "\"Chief Clerk\"", "roles", "a role has"),
    ] {
        assert!(usual.contains(what), "{what} is not in\n{usual}");
        fs::write(ground.config(), usual.replace(what, instead)).unwrap();
        let Err(found) = crate::harness::load(&ground.config()) else { panic!("{instead}") };
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        let at = format!("operator_issuers.idp.{at}: ");
        let told = found.iter().any(|it| it.starts_with(&at) && it.contains(mend));
        assert!(told, "{instead}: {found:#?}");
    }
}
