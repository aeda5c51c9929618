use reseal_keyring::{Template, TemplateError};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn render(template: &str, columns: &[&str], key: &[&str]) -> String {
    let template = Template::parse(template, &names(columns)).unwrap();
    String::from_utf8(template.render(&names(key))).unwrap()
}

#[test]
fn columns_stand_where_their_names_stood() {
    let rendered = render("messages.encrypted_content:{id}", &["id"], &["42"]);
    assert_eq!(rendered, "messages.encrypted_content:42");
    let rendered = render("{b}/{a}/{b}!", &["a", "b"], &["1", "2"]);
    assert_eq!(rendered, "2/1/2!");
}

#[test]
fn what_a_column_holds_is_never_read_as_a_template() {
    assert_eq!(render("{a}:{b}", &["a", "b"], &["{b}", "}}"]), "{b}:}}");
}

#[test]
fn doubled_braces_are_literal() {
    assert_eq!(render("{{{id}}}", &["id"], &["42"]), "{42}");
    assert_eq!(render("{{id}}", &["id"], &["42"]), "{id}");
}

#[test]
fn an_empty_template_means_no_associated_data() {
    assert_eq!(render("", &["id"], &["42"]), "");
}

#[test]
fn only_a_template_with_a_column_binds_to_the_row() {
    let binds = |text| Template::parse(text, &names(&["id"])).unwrap().binds_to_row();
    assert!(binds("messages:{id}"));
    assert!(!binds("messages:{{id}}"));
    assert!(!binds("messages"));
    assert!(!binds(""));
}

#[test]
fn an_unknown_column_is_refused_with_the_known_ones() {
    for (text, named) in [("t:{uid}", "uid"), ("t:{}", ""), ("t:{ id }", " id ")] {
        let refused = Template::parse(text, &names(&["id", "tenant"])).unwrap_err();
        let expected = TemplateError::UnknownColumn { column: named.to_owned(), known: names(&["id", "tenant"]) };
        assert_eq!(refused, expected);
        assert!(refused.to_string().ends_with("known are id, tenant"));
    }
}

#[test]
fn a_brace_without_its_other_half_is_refused() {
    let code = |text| Template::parse(text, &names(&["id"])).unwrap_err().code();
    assert_eq!(code("t:{id"), "template_not_closed");
    assert_eq!(code("t:{"), "template_not_closed");
    assert_eq!(code("t:id}"), "template_not_opened");
    assert_eq!(code("t:{id}}"), "template_not_opened");
}
