//! What a caller can hold against the log: promises, proofs, and the published tree itself.

use jumpgate_catalogue::Verdict;
use jumpgate_querylog::{Promise, Proven, QueryLog};
use serde_json::Value;

use crate::harness::questions::{WIDOW, age, civil, insured};
use crate::harness::{Harness, Reply, eventually};

const RIGHTS: &str = r#"
[[callers]]
id = "one-window"
san_uri = "urn:example:district:one-window"
proof = "inline"
may_mirror = true

[[callers]]
id = "other-window"
san_uri = "urn:example:district:other-window"
"#;

/// The promise of a reply, which must hold and speak of the reply's own receipt.
fn promised(harness: &Harness, reply: &Value) -> Promise {
    let (_, key) = QueryLog::verifier_keys(&harness.log_dir()).unwrap();
    let promise = Promise::of_text(reply["receipt"]["promise"].as_str().unwrap(), &key).unwrap();
    assert_eq!(promise.index, reply["receipt"]["index"]);
    assert_eq!(hex::encode(promise.leaf_hash), reply["receipt"]["leaf_hash"]);
    promise
}

fn proven(harness: &Harness, reply: &Value) -> Proven {
    let (key, _) = QueryLog::verifier_keys(&harness.log_dir()).unwrap();
    Proven::of_receipt(reply["receipt"]["proof"].as_str().unwrap(), &key).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_carries_a_promise_that_its_receipt_keeps() {
    let harness = Harness::start().await;
    let mut client = harness.client("one-window").await;
    let answer = client.ask(&age(18, WIDOW)).await;
    let refused = client.ask(&civil("alive", serde_json::json!({}), WIDOW)).await;
    let mut other = harness.client("other-window").await;
    let denied = other.ask(&insured(WIDOW)).await;
    assert_eq!((answer.says(), denied.status), ("yes", 403), "{}", denied.json);
    for reply in [&answer, &refused, &denied] {
        promised(&harness, &reply.json);
        assert!(reply.json["receipt"].get("proof").is_none(), "nobody asked for it");
    }
    let promise = promised(&harness, &answer.json);
    let path = format!("/v1/receipts/{}", answer.index());
    let proof = async || client.get(&path).await.json.get("proof").cloned();
    let proof = eventually("the tree holds the answer", proof).await;
    let (key, _) = QueryLog::verifier_keys(&harness.log_dir()).unwrap();
    let proven = Proven::of_receipt(proof.as_str().unwrap(), &key).unwrap();
    assert!(proven.keeps(&promise).unwrap().starts_with("KEPT"));
    let broken = Promise { leaf_hash: [1; 32], ..promise.clone() };
    assert!(proven.keeps(&broken).unwrap_err().to_string().starts_with("BROKEN"));
    let elsewhere = Promise { index: promise.index + 1, ..promise };
    assert!(proven.keeps(&elsewhere).is_err());
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_the_proof_gets_it_with_the_answer() {
    let harness = Harness::with(RIGHTS).await;
    let mut client = harness.client("one-window").await;
    let mut question = age(18, WIDOW);
    question["query_id"] = "8b1f0f2e6a0d4a53b1a2f4d5c6e7f809".into();
    let answer = client.ask(&question).await;
    let proof = proven(&harness, &answer.json);
    assert_eq!((proof.index, proof.verdict), (answer.index(), Some(Verdict::Yes)));
    assert!(proof.keeps(&promised(&harness, &answer.json)).is_ok());
    // A repeat is promised and proven again, as the same entry.
    let again = client.ask(&question).await;
    assert_eq!(again.index(), answer.index());
    assert_eq!(proven(&harness, &again.json).leaf_hash, proof.leaf_hash);
    assert_eq!(promised(&harness, &again.json).leaf_hash, proof.leaf_hash);
    // So is every answer of a batch.
    let batch = client.ask_batch([age(18, WIDOW), insured(WIDOW)]).await;
    for item in batch.json["answers"].as_array().unwrap() {
        assert_eq!(proven(&harness, &item["body"]).verdict, Some(Verdict::Yes));
    }
    // Who does not wait does not get it.
    let mut other = harness.client("other-window").await;
    let mut hiring = age(18, WIDOW);
    hiring["purpose"] = "hiring".into();
    assert!(other.ask(&hiring).await.json["receipt"].get("proof").is_none());
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_mirror_reads_the_tree_and_nobody_else_does() {
    let harness = Harness::with(RIGHTS).await;
    let mut mirror = harness.client("one-window").await;
    for _ in 0..130 {
        assert_eq!(mirror.ask(&age(18, WIDOW)).await.says(), "yes");
    }
    let checkpoint = mirror.get("/v1/log/checkpoint").await;
    assert_eq!(checkpoint.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(checkpoint.header("cache-control"), "private, no-cache");
    let text = String::from_utf8(checkpoint.body.to_vec()).unwrap();
    let size: u64 = text.lines().nth(1).unwrap().parse().unwrap();
    assert!(text.starts_with("it.jumpgate.example/log\n") && size > 260, "{text}");
    let partial = format!("tile/0/001.p/{}", size - 256);
    for (path, bytes) in
        [("tile/0/000", 8192), (&partial, 32 * (size - 256)), ("tile/1/000.p/1", 32)]
    {
        let tile = mirror.get(&format!("/v1/log/{path}")).await;
        assert_eq!((tile.status, tile.body.len() as u64), (200, bytes), "{path}");
        assert_eq!(tile.header("content-type"), "application/octet-stream");
        assert_eq!(tile.header("cache-control"), "private, max-age=31536000, immutable");
    }
    let bundle = mirror.get("/v1/log/tile/entries/000").await;
    let published = std::fs::read(harness.log_dir().join("tree/tile/entries/000")).unwrap();
    assert_eq!(bundle.body, published);
    let absent = ["tile/0/009", "tile/0/0", "state", "../origin", "tile/0/../../state", "", "tile"];
    for path in absent {
        let reply = mirror.get(&format!("/v1/log/{path}")).await;
        assert_eq!((reply.status, reply.says()), (404, "not-found"), "{path}");
    }
    // A tile that should be there is not called one that there never was.
    let lost = harness.log_dir().join("tree/tile/0/000");
    let bytes = std::fs::read(&lost).unwrap();
    std::fs::remove_file(&lost).unwrap();
    let needing = ["/v1/log/tile/0/000", "/v1/receipts/5"];
    for path in needing {
        let reply = mirror.get(path).await;
        assert_eq!((reply.status, reply.says()), (503, "log-unavailable"), "{path}");
    }
    std::fs::write(&lost, &bytes[1..]).unwrap();
    assert_eq!(mirror.get("/v1/receipts/5").await.status, 503, "not to be proven by this one");
    std::fs::write(&lost, bytes).unwrap();
    for path in needing {
        assert_eq!(mirror.get(path).await.status, 200, "{path}");
    }
    // A partial tile may go when there is a full one, and not before.
    let lost = harness.log_dir().join("tree/tile/1/000.p/1");
    std::fs::rename(&lost, lost.with_extension("elsewhere")).unwrap();
    assert_eq!(mirror.get("/v1/log/tile/1/000.p/1").await.status, 503);
    std::fs::rename(lost.with_extension("elsewhere"), lost).unwrap();
    let mut other = harness.client("other-window").await;
    for path in ["checkpoint", "tile/0/000", "tile/entries/000"] {
        let reply: Reply = other.get(&format!("/v1/log/{path}")).await;
        assert_eq!((reply.status, reply.says()), (404, "not-found"), "{path}");
    }
    harness.finish().await;
}
