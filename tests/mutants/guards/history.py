"""Guards of what people look for in the books, and of what they are not to see there."""

from tests.mutants.guard import Guard

SEARCH, ON_SEARCH = "penstock/ledger/search.py", "tests/ledger/test_search.py"
MATCHING = "penstock/ledger/matching.py"
AUDIT, ON_AUDIT = "penstock/ledger/audit.py", "tests/ledger/test_audit.py"
PAGE, ON_PAGE = "penstock/flower/pages/audit.py", "tests/flower/live/test_audit.py"
REDACTION, ON_REDACTION = "penstock/redaction.py", "tests/test_redaction.py"

GUARDS = (
    Guard(
        name="search-by-named-arguments-only",
        file="penstock/ledger/filtering.py",
        text="            if name not in self.searchable:\n",
        replacement="            if False:\n",
        test=f"{ON_SEARCH}::test_only_arguments_that_the_settings_name_may_be_searched[allowed0]",
        why="Whoever may look at jobs guesses the value of any argument, secrets among them.",
        red="Failed",
    ),
    Guard(
        name="secrets-cannot-be-searched",
        file="penstock/config.py",
        text="        if hidden:\n",
        replacement="        if False:\n",
        test="tests/test_config.py::test_words_that_can_name_nothing_are_refused"
        "[PENSTOCK_SEARCHABLE-a,user_token-'user_token' is hidden by PENSTOCK_REDACT; take it out of one of them]",
        why="An argument that is hidden from everybody can be guessed by searching for it.",
        red="Failed",
    ),
    Guard(
        name="arguments-that-postgresql-cannot-read",
        file=MATCHING,
        text='(escapes.op("~")(NO_CHARACTER), None), ',
        replacement="",
        test=f"{ON_SEARCH}::test_arguments_of_any_form_break_no_search[postgresql-x]",
        why="One job with a NUL among its arguments costs every search that meets it.",
        red="DataError",
    ),
    Guard(
        name="tags-as-whole-words",
        file="penstock/tags.py",
        text='    return f" {words} " if words else None\n',
        replacement="    return words or None\n",
        test="tests/test_tags.py::test_one_tag_is_found_as_a_part_of_the_text",
        why="A search for customer-1 finds the jobs of customer-10.",
    ),
    Guard(
        name="search-for-a-tag-among-tagged-jobs",
        file=SEARCH,
        text="        first, rest = [_is_tagged], equal\n",
        replacement="        pass\n",
        test=f"{ON_SEARCH}::test_a_search_for_a_tag_looks_at_tagged_jobs_only[sqlite]",
        why="A tag is looked for in the newest jobs, of which none may have any.",
    ),
    Guard(
        name="tags-outlive-a-replacement",
        file="penstock/ledger/recording/columns.py",
        text='    own = {"tags": tags.to_text(delivery.tags)} if delivery.tags else {}\n',
        replacement='    own = {"tags": tags.to_text(delivery.tags)}\n',
        test="tests/ledger/recording/test_fence.py::test_a_job_that_is_replaced_by_one_without_tags_keeps_its_own[sqlite]",
        why="A job is not found by its tag any more once a stock worker has put another task in its place.",
    ),
    Guard(
        name="audit-says-how-far-it-looked",
        file=AUDIT,
        text="    return AuditPage(found, frontier, is_cut_short=frontier is not None)\n",
        replacement="    return AuditPage(found, None)\n",
        test=f"{ON_AUDIT}::test_a_second_condition_is_looked_for_so_far_and_the_page_says_so[sqlite]",
        why="Whoever looks for a deed is told that there was none, though nobody has looked.",
    ),
    Guard(
        name="secrets-in-details-of-deeds",
        file=PAGE,
        text="in_brief(self.application.redaction.value(None, row.details))",
        replacement="in_brief(row.details)",
        test=f"{ON_PAGE}::test_long_details_open_and_hold_no_secret",
        why="A token that a deed was done with is shown to everybody who looks on.",
    ),
    Guard(
        name="books-closed-as-agreed",
        file=PAGE,
        text="    if count != agreed:\n",
        replacement="    if False:\n",
        test=f"{ON_PAGE}::test_what_was_not_agreed_to_is_not_done",
        why="An admin who has agreed to give two jobs up gives up thousands that were lost since.",
    ),
    Guard(
        name="secrets-of-values-are-hidden",
        file=REDACTION,
        text="        if name is not None and self._redaction.is_secret(name):\n",
        replacement="        if False:\n",
        test=f"{ON_REDACTION}::test_secrets_are_hidden_at_any_depth_and_the_rest_stays",
        why="A password among the arguments of a job is shown to whoever may look at it.",
    ),
    Guard(
        name="secrets-of-texts-are-hidden",
        file=REDACTION,
        text="            shown += text[done : match.end()], stands_for\n",
        replacement="            shown += text[done : match.end()], text[match.end() : end]\n",
        test=f"{ON_REDACTION}::test_a_text_is_without_what_it_names_like_a_secret[password=x-password=***]",
        why="A password in the message of an error or in a traceback is shown.",
    ),
    Guard(
        name="passwords-of-addresses-are-hidden",
        file=REDACTION,
        text='_ADDRESS.sub(rf"\\1{HIDDEN}@", text)',
        replacement="text",
        test=f"{ON_REDACTION}::test_what_a_value_says_in_a_text_is_hidden_too",
        why="The password of a database is shown in the text of the error that it could not be reached.",
    ),
)
