//! The algorithms against naive references, their own promises, and cases that broke others.

mod calendar;
mod edge_cases;
mod harness;
mod periods;
mod promise;
mod rates;
mod reference;
mod settle;
mod sliding;
