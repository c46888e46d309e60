//! `GET /v1/why`: the links between what is wanted and what is.

use crate::answer::Answer;
use crate::server::Api;
use actix_web::HttpResponse;
use actix_web::web::{Data, Query};
use jaco_model::view::WhyQuestion;

/// `GET /v1/why`
pub(crate) async fn why(api: Data<Api>, question: Query<WhyQuestion>) -> Answer<HttpResponse> {
    let state = api.state()?;
    let view = api.backend.why(state, question.into_inner()).await?;
    Ok(HttpResponse::Ok().json(view))
}
