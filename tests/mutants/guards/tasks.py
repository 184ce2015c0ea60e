"""Guards of the rooms and of what faces the outside: egress, shell commands, Flower, the embedded system."""

from tests.mutants.guard import Guard

EGRESS, HTTP, SHELL, ACCESS = "tasks/egress.py", "tasks/http.py", "tasks/shell.py", "penstock/flower/access.py"
ON_EGRESS, ON_HTTP, ON_SHELL = "tests/tasks/test_egress.py", "tests/tasks/test_http.py", "tests/tasks/test_shell.py"
ON_ACCESS = "tests/flower/test_access.py"

GUARDS = (
    Guard(
        name="coroutines-connect-to-the-checked-address",
        file="tasks/http_in_loop.py",
        text="asyncio.open_connection(address, target.port,",
        replacement="asyncio.open_connection(target.host, target.port,",
        test="tests/tasks/test_pages.py::test_the_connection_goes_to_the_address_that_was_checked",
        why="A name that changes its answer leads a job into the private network.",
    ),
    Guard(
        name="only-public-addresses",
        file=EGRESS,
        text="for address in found if _why_refused(address, allow) is None]",
        replacement="for address in found]",
        test=f"{ON_EGRESS}::test_of_a_name_with_public_and_private_addresses_only_the_public_ones_are_used",
        why="A URL in a job reaches the private network.",
    ),
    Guard(
        name="odd-spelling-of-an-address",
        file=EGRESS,
        text="    if _NUMBER.fullmatch(labels[-1]):\n",
        replacement="    if False:\n",
        test=f"{ON_EGRESS}::test_an_odd_spelling_of_an_ipv4_address_is_refused",
        why="0x7f000001 leads to this machine and looks like a name.",
    ),
    Guard(
        name="address-inside-an-address",
        file=EGRESS,
        text="    if embedded is not None:\n",
        replacement="    if False:\n",
        test=f"{ON_EGRESS}::test_an_address_that_is_not_public_is_refused",
        why="An IPv6 address that carries a private IPv4 address is taken for public.",
    ),
    Guard(
        name="allowed-commands-only",
        file=SHELL,
        text="    if not isinstance(command, str) or command not in settings.shell_allow:\n",
        replacement="    if False:\n",
        test=f"{ON_SHELL}::test_a_command_that_is_not_allowed_is_refused",
        why="Whoever can enqueue runs any program.",
        red="KeyError",
    ),
    Guard(
        name="command-sees-no-secrets",
        file=SHELL,
        text='            env={**ENVIRONMENT, "HOME": str(Path.home()), **further},\n',
        replacement='            env={**os.environ, "HOME": str(Path.home()), **further},\n',
        test=f"{ON_SHELL}::test_the_environment_holds_no_secret",
        why="A command finds the passwords of the worker in its environment.",
    ),
    Guard(
        name="command-variables-are-allowed-by-name",
        file=SHELL,
        text="        if name not in settings.shell_environment:\n",
        replacement="        if False:\n",
        test=f"{ON_SHELL}::test_a_variable_that_is_not_allowed_is_refused_before_anything_starts",
        why="A job sets LD_PRELOAD, and runs what no list allows.",
    ),
    Guard(
        name="no-variable-subverts-a-command",
        file="tasks/config.py",
        text="        if SUBVERTING.fullmatch(name):\n",
        replacement="        if False:\n",
        test="tests/tasks/test_config.py::test_a_variable_that_makes_a_command_run_other_code_is_refused",
        why="A deployment allows a variable by which every allowed command runs other code.",
    ),
    Guard(
        name="credentials-for-one-user",
        file=ACCESS,
        text="    new.touch(mode=0o600)  # before it holds the password\n",
        replacement="    new.touch()\n",
        test=f"{ON_ACCESS}::test_a_password_is_made_once_and_kept_where_only_its_user_can_read_it",
        why="Every user of the machine can read Flower's password.",
    ),
    Guard(
        name="flower-on-loopback",
        file=ACCESS,
        text='environ.get("FLOWER_ADDRESS", "").strip() or LOOPBACK\n',
        replacement='environ.get("FLOWER_ADDRESS", "").strip() or ANYWHERE[0]\n',
        test=f"{ON_ACCESS}::test_by_default_it_is_on_loopback",
        why="Flower faces the network of whoever tries it out.",
    ),
)
