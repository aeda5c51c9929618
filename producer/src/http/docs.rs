//! The API put together: its routes, their description, and the pages that show it; and the dashboard beside it.

use super::{
    App, audit, auth, batches, census, events, health, keys, metrics, operations, rotations, steering,
    table::{self, Access},
    workers,
};
use crate::dashboard;
use axum::{
    Router,
    extract::Request,
    extract::State,
    http::{HeaderMap, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use reseal_http::{Limits, Problem, limited, with_request_id};
use std::time::Duration;
use utoipa::{
    OpenApi,
    openapi::{
        self, ContentBuilder, HttpMethod, Ref, RefOr, ResponseBuilder, Schema,
        path::Operation,
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::{Config, SwaggerUi};

/// A request of the API is small; the encryption service has a limit of its own.
const LIMITS: Limits = Limits { body: 256 * 1024, time: Duration::from_secs(60), concurrency: 512 };

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Reseal",
        description = "Rotates the encryption key under a live database. Errors are problem details (RFC 9457) with a stable `code`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    components(schemas(Problem)),
    tags(
        (name = "rotations", description = "Asking for rotations, following and steering them"),
        (name = "batches", description = "Batches, failures by cause, quarantined rows"),
        (name = "keys", description = "Keys, the census, clearing"),
        (name = "operations", description = "Work that is asked for here and done by a worker"),
        (name = "workers", description = "Who works"),
        (name = "audit", description = "Who did what when"),
        (name = "events", description = "What is done as it happens"),
        (name = "encryption", description = "Encrypting and decrypting; only where the server holds a key"),
        (name = "health", description = "Probes and metrics"),
    )
)]
struct Described;

fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Described::openapi())
        .merge(rotations::routes())
        .merge(steering::routes())
        .merge(batches::routes())
        .merge(operations::routes())
        .merge(keys::routes())
        .merge(census::routes())
        .merge(workers::routes())
        .merge(audit::routes())
        .merge(events::routes())
        .merge(health::routes())
}

/// The API over `app`, and `more` routes behind the same doors, described together.
pub fn router(app: App, more: OpenApiRouter) -> Router {
    let (routes, described) = routes().merge(more.with_state(())).split_for_parts();
    let described = with_rights_and_problems(described);
    // The pages would otherwise send the description to a validator somewhere else.
    let pages = SwaggerUi::new("/docs").url("/openapi.json", described).config(Config::default().validator_url("none"));
    let routes = routes.merge(pages).merge(dashboard::routes());
    let routes = routes.route_layer(middleware::from_fn_with_state(app.clone(), auth::authorize));
    limited(routes, LIMITS)
        .fallback(get(nothing_here).fallback(nothing_here))
        .layer(middleware::from_fn_with_state(app.clone(), metrics::count))
        .layer(middleware::from_fn(with_request_id))
        .with_state(app)
}

/// The description alone, of the same routes.
pub fn openapi(more: openapi::OpenApi) -> openapi::OpenApi {
    let mut described = routes().into_openapi();
    described.merge(more);
    with_rights_and_problems(described)
}

async fn nothing_here(State(app): State<App>, headers: HeaderMap, request: Request) -> Response {
    let problem = Problem::new(404, "unknown_route", "there is nothing here: see /docs");
    let accepts = headers.get(header::ACCEPT).and_then(|kinds| kinds.to_str().ok()).unwrap_or_default();
    match accepts.contains("text/html") && !request.uri().path().starts_with("/v1/") {
        true => {
            let problem = Problem::new(404, "unknown_route", "there is no such page");
            let mut asked = request.into_parts().0;
            // Who is signed in keeps the menu.
            if let Some(caller) = auth::who(&app, &asked).await {
                asked.extensions.insert(caller);
            }
            dashboard::refused(&asked, problem)
        }
        false => problem.into_response(),
    }
}

/// What is true of every route is said once, here: the right that it asks for, and how it refuses.
fn with_rights_and_problems(mut described: openapi::OpenApi) -> openapi::OpenApi {
    let components = described.components.get_or_insert_default();
    components
        .security_schemes
        .insert("token".to_owned(), SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)).into());
    components.schemas.values_mut().for_each(without_unknown);
    components.schemas = std::mem::take(&mut components.schemas).into_iter().map(|(n, s)| (plain(&n), s)).collect();
    for (path, item) in &mut described.paths.paths {
        let operations =
            [(HttpMethod::Get, &mut item.get), (HttpMethod::Post, &mut item.post), (HttpMethod::Put, &mut item.put)];
        for (method, operation) in operations {
            let Some(operation) = operation else { continue };
            describe(path, &method, operation);
            operation.responses.responses.values_mut().for_each(with_plain_name);
            let schemas = operation.parameters.iter_mut().flatten().filter_map(|p| match p {
                RefOr::T(parameter) => parameter.schema.as_mut(),
                RefOr::Ref(_) => None,
            });
            schemas.for_each(without_unknown);
        }
    }
    described
}

/// utoipa calls a page of rotations `Page_Rotation`, and generated clients would carry that on.
fn plain(name: &str) -> String {
    name.strip_prefix("Page_").map_or_else(|| name.to_owned(), |of| format!("{of}Page"))
}

fn with_plain_name(response: &mut RefOr<openapi::Response>) {
    let RefOr::T(response) = response else { return };
    for content in response.content.values_mut() {
        if let RefOr::T(content) = content
            && let Some(RefOr::Ref(schema)) = &mut content.schema
            && let Some((place, name)) = schema.ref_location.rsplit_once('/')
        {
            schema.ref_location = format!("{place}/{}", plain(name));
        }
    }
}

/// A client may meet a state that it does not know; a server has none.
fn without_unknown(schema: &mut RefOr<Schema>) {
    if let RefOr::T(Schema::Object(object)) = schema
        && let Some(values) = &mut object.enum_values
    {
        values.retain(|value| value != "unknown");
    }
}

fn describe(path: &str, method: &HttpMethod, operation: &mut Operation) {
    let name = match method {
        HttpMethod::Get => axum::http::Method::GET,
        HttpMethod::Put => axum::http::Method::PUT,
        _ => axum::http::Method::POST,
    };
    let mut statuses = vec![429, 500, 503, 504];
    if let Some(access) = table::access(&name, path) {
        let right = match access {
            Access::Right(right) => right.to_string(),
            Access::Local => "any token, or none on loopback".to_owned(),
            Access::Open => "none".to_owned(),
        };
        let description = operation.description.take().map(|d| d + "\n\n").unwrap_or_default();
        operation.description = Some(format!("{description}Right: {right}."));
        let token = SecurityRequirement::new("token", Vec::<String>::new());
        operation.security = match access {
            Access::Open => None,
            Access::Local => Some(vec![SecurityRequirement::default(), token]),
            Access::Right(_) => Some(vec![token]),
        };
        if access != Access::Open {
            statuses.extend([401, 403]);
        }
    }
    let has_parameters = operation.parameters.as_ref().is_some_and(|p| !p.is_empty());
    if has_parameters || operation.request_body.is_some() {
        statuses.extend([422]);
    }
    if operation.request_body.is_some() {
        statuses.extend([400, 413, 415]);
    }
    if path.contains('{') || path == "/v1/census" {
        statuses.push(404);
    }
    if *method != HttpMethod::Get {
        statuses.extend([404, 409]);
    }
    for status in statuses {
        operation.responses.responses.entry(status.to_string()).or_insert_with(|| problem_of(status));
    }
}

fn problem_of(status: u16) -> RefOr<openapi::Response> {
    let said = axum::http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Problem");
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(said).content("application/problem+json", content).build().into()
}
