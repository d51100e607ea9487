use super::*;

#[test]
fn readiness_is_told_apart_from_health() {
    let admin = Admin {
        readiness: Arc::default(),
        metrics: Metrics::new(),
        api: None,
    };
    let status = |path| admin.answer(&Method::GET, path).status();
    assert_eq!(status("/healthz"), StatusCode::OK);
    assert_eq!(status("/readyz"), StatusCode::SERVICE_UNAVAILABLE);
    admin.readiness.set(true);
    assert_eq!(status("/readyz"), StatusCode::OK);
    assert_eq!(status("/metrics"), StatusCode::OK);
    assert_eq!(status("/other"), StatusCode::NOT_FOUND);
    assert_eq!(
        admin.answer(&Method::POST, "/healthz").status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
}
