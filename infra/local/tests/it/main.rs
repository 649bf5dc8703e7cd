//! The integration tests: the tree's own rules, and the whole pipeline from outside.

#[cfg(test)]
mod boto;
#[cfg(test)]
mod breaking;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod formats;
#[cfg(test)]
mod fronts;
#[cfg(test)]
mod http;
#[cfg(test)]
mod isolated;
#[cfg(test)]
mod large;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod running;
#[cfg(test)]
mod tenants;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod way;
