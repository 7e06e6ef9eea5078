use std::collections::HashSet;

use serde_json::Value;

use super::*;
use crate::population::population;
use crate::special::Special;
use crate::tests::TODAY;

fn service(auth: &str) -> SocialInsurance {
    SocialInsurance::new(&population(7, 400, TODAY), TODAY, auth.parse().expect("a demand"))
}

fn get(service: &SocialInsurance, path: &str) -> (u16, Value) {
    let request = Request::get(path).body(Bytes::new()).expect("a request");
    let response = service.answer(&request).response;
    let body = serde_json::from_slice(response.body()).expect("every reply is JSON");
    (response.status().as_u16(), body)
}

fn check(service: &SocialInsurance, path: &str, status: u16, code: &str) {
    let (actual, body) = get(service, path);
    assert_eq!((actual, body["code"].as_str()), (status, Some(code)), "{path}");
    assert!(body["message"].is_string());
}

#[test]
fn a_person_has_the_fields_of_the_contract() {
    let service = service("none");
    let people = population(7, 400, TODAY);
    let worker = people
        .iter()
        .find(|person| person.insurance.as_ref().is_some_and(|known| known.employment.is_some()));
    let worker = worker.expect("somebody works");
    for (kind, identifier) in worker.identifiers.each() {
        let (status, body) = get(&service, &format!("/v2/persons/{}/{identifier}", kind.as_str()));
        assert_eq!(status, 200);
        let person = &body["person"];
        assert_eq!(person["name"], worker.name.full.as_str());
        assert_eq!(person["status"], "active");
        assert_eq!(person["schemes"].as_array().map(Vec::len), Some(5));
        assert_eq!(person["schemes"][0]["scheme"], "pension");
        assert_eq!(person["schemes"][0]["state"], "insured");
        assert_eq!(person["pension"]["state"], "none");
        assert_eq!(person["employer"]["uscc"].as_str().map(str::len), Some(18));
        assert!(person.as_object().expect("an object").len() >= 25);
        let uscc = person["employer"]["uscc"].as_str().expect("text");
        let (status, employer) = get(&service, &format!("/v2/employers/{uscc}"));
        assert_eq!((status, &employer["employer"]["state"]), (200, &Value::from("active")));
    }
    let (_, body) = get(&service, "/v2/persons/passport/E00000014");
    assert_eq!(body["person"]["pension"]["state"], "receiving");
    assert!(body["person"]["employer"].is_null());
}

#[test]
fn a_percent_encoded_identifier_is_the_same_one() {
    let service = service("none");
    let (plain, encoded) = ("/v2/persons/passport/E00000001", "/v2/persons/passport/%450000000%31");
    assert_eq!(get(&service, plain), get(&service, encoded));
    assert_eq!(percent_decoded("a%2Fb%zz%4"), "a/b%zz%4");
}

#[test]
fn pages_hold_every_contribution_once_newest_first() {
    let service = service("none");
    for person in population(7, 60, TODAY) {
        let Some(insurance) = &person.insurance else { continue };
        if person.special == Some(Special::SeveralRecords) {
            continue;
        }
        let mut months = Vec::new();
        let mut paid = HashSet::new();
        let mut page = 1;
        loop {
            let handle = &person.identifiers.handle;
            let path = format!(
                "/v2/persons/handle/{handle}/contributions?scheme=medical&page={page}&size=60"
            );
            let (status, body) = get(&service, &path);
            assert_eq!((status, &body["scheme"]), (200, &Value::from("medical")));
            assert_eq!(body["total"], insurance.contributions.len());
            let items = body["items"].as_array().expect("a list");
            assert!(items.len() <= 60);
            for item in items {
                let month = item["month"].as_str().expect("text").to_owned();
                assert!(item["base_fen"].is_u64() && item["employer_uscc"].is_string());
                if item["state"] == "paid" {
                    paid.insert(month.clone());
                }
                months.push(month);
            }
            if page >= body["pages"].as_u64().expect("a number") {
                break;
            }
            page += 1;
        }
        assert_eq!(months.len(), insurance.contributions.len());
        assert!(months.is_sorted_by(|newer, older| newer >= older));
        assert_eq!(paid.len(), insurance.months_paid());
    }
    let (_, body) = get(&service, "/v2/persons/passport/E00000015/contributions?scheme=pension");
    assert_eq!((&body["pages"], &body["size"]), (&Value::from(3), &Value::from(60)));
    let (status, beyond) =
        get(&service, "/v2/persons/passport/E00000015/contributions?scheme=pension&page=4");
    assert_eq!((status, &beyond["items"]), (200, &Value::Array(Vec::new())));
}

#[test]
fn a_scheme_the_person_is_not_in_has_no_contributions() {
    let service = service("none");
    let (_, body) = get(&service, "/v2/persons/passport/E00000002/contributions?scheme=pension");
    assert_eq!((&body["total"], &body["pages"]), (&Value::from(0), &Value::from(0)));
}

#[test]
fn employers_are_clean_in_arrears_closed_or_unclear() {
    let service = service("none");
    let employers = insurance::employers();
    let readme = include_str!("../../README.md");
    assert!(employers[..4].iter().all(|one| readme.contains(&format!("| `{}` |", one.uscc))));
    let employer = |index: usize| {
        let (status, mut body) = get(&service, &format!("/v2/employers/{}", employers[index].uscc));
        assert_eq!(status, 200);
        body["employer"].take()
    };
    assert_eq!(employer(0)["arrears"]["months"], 0);
    assert_eq!(employer(1)["arrears"]["months"], 3);
    assert!(employer(1)["arrears"]["amount_fen"].as_u64().expect("a number") > 0);
    assert_eq!(employer(2)["state"], "closed");
    assert!(employer(3)["arrears"].is_null());
}

#[test]
fn errors_have_their_codes() {
    let service = service("none");
    let pages = "/v2/persons/passport/E00000001/contributions";
    check(&service, "/v2/persons/passport/E99999999", 404, "PERSON_NOT_FOUND");
    check(&service, "/v2/persons/passport/E00000012", 404, "PERSON_NOT_FOUND");
    check(&service, "/v2/persons/passport/E00000008", 409, "SEVERAL_PERSONS");
    check(&service, "/v2/persons/badge/E00000001", 400, "UNKNOWN_KIND");
    let unknown = "/v2/persons/passport/E00000012/contributions?scheme=pension";
    check(&service, unknown, 404, "PERSON_NOT_FOUND");
    let several = "/v2/persons/passport/E00000008/contributions?scheme=pension";
    check(&service, several, 409, "SEVERAL_PERSONS");
    check(&service, "/v2/employers/91110108MAJG99990X", 404, "EMPLOYER_NOT_FOUND");
    check(&service, pages, 400, "UNKNOWN_SCHEME");
    check(&service, &format!("{pages}?scheme=lottery"), 400, "UNKNOWN_SCHEME");
    for query in ["page=0", "page=x", "size=0", "size=101", "page=1001", "order=asc"] {
        check(&service, &format!("{pages}?scheme=pension&{query}"), 400, "BAD_PAGE");
    }
    check(&service, "/v1/persons/passport/E00000001", 404, "NO_SUCH_RESOURCE");
    let request = Request::post("/v2/employers/x").body(Bytes::new()).expect("a request");
    assert_eq!(service.answer(&request).response.status().as_u16(), 405);
}

#[test]
fn credentials_are_demanded() {
    for (auth, name, value) in [
        ("basic:a:b", "authorization", "Basic YTpi"),
        ("bearer:abc", "authorization", "Bearer abc"),
        ("header:x-api-key:abc", "x-api-key", "abc"),
    ] {
        let service = service(auth);
        let path = "/v2/persons/passport/E00000001";
        check(&service, path, 401, "UNAUTHORIZED");
        let request = Request::get(path).header(name, value).body(Bytes::new());
        let response = service.answer(&request.expect("a request")).response;
        assert_eq!(response.status().as_u16(), 200, "{auth}");
    }
}
