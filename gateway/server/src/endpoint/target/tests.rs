use super::*;

#[test]
fn an_address_is_taken_apart() {
    let check = |url: &str, host: &str, port: u16, header: &str, base_path: &str| {
        let target = Target::parse(url).expect(url);
        assert_eq!(target.host, host, "{url}");
        assert_eq!(target.port, port, "{url}");
        assert_eq!(target.host_header, header, "{url}");
        assert_eq!(target.base_path, base_path, "{url}");
    };
    check("http://registry", "registry", 80, "registry", "");
    check("http://registry/", "registry", 80, "registry", "");
    check("https://registry.example:443/a/b/", "registry.example", 443, "registry.example", "/a/b");
    check("http://registry:443", "registry", 443, "registry:443", "");
    check("http://10.0.0.1:8080/ws", "10.0.0.1", 8080, "10.0.0.1:8080", "/ws");
    check("https://[::1]:8443", "::1", 8443, "[::1]:8443", "");
    check("https://[::1]", "::1", 443, "[::1]", "");
}

#[test]
fn an_address_that_is_not_plain_is_a_mistake() {
    for url in [
        "",
        "registry",
        "/a",
        "ftp://registry",
        "http://",
        "http:///a",
        "http://user@registry",
        "http://user:pw@registry",
        "http://registry:0",
        "http://registry:99999",
        "http://registry:",
        "http://registry?a=1",
        "http://registry/#a",
        "http://registry/../a",
        "http://registry//a",
        "http://registry/%2e%2e/a",
        "HTTP//registry",
    ] {
        assert!(Target::parse(url).is_none(), "{url}");
    }
}
