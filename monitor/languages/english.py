"""What Zelador says about health, in English; monitor.texts chooses."""

from typing import Final

from monitor.languages.wording import Wording

NAME, SERVER = "Connection: {instanceName}.", "Server: {gateway}."

EN: Final = Wording(
    texts={
        "down": (
            "⚠️ WhatsApp is offline",
            (
                "Your WhatsApp stopped answering.",
                "{why}",
                "It failed {failures} in a row.",
                "Zelador is taking care of it and will try to reconnect.",
                "Check that the phone is on and has internet.",
                NAME,
            ),
            None,
        ),
        "reconnect_failed": (
            "Reconnecting failed ❌",
            (
                "Zelador tried to reconnect your WhatsApp and could not.",
                "{why}",
                "That was {attempts} so far.",
                "It keeps trying, but you can settle it now: press Reconnect now and, if a QR code appears, scan it"
                " with the phone.",
                NAME,
            ),
            "connect",
        ),
        "gave_up": (
            "WhatsApp has stopped: we need you ❌",
            (
                "Zelador has stopped trying to reconnect your WhatsApp, so as not to harm your number.",
                "It made {attempts} without success.",
                "{why}",
                "Check that the phone is on and has internet, then press Reconnect now.",
                NAME,
            ),
            "connect",
        ),
        "needs_qr": (
            "⚠️ Scan the QR code again",
            (
                "Your WhatsApp was disconnected and only comes back with a new QR code.",
                "{why}",
                "Press Reconnect now and scan the code under Linked devices, in WhatsApp on the phone.",
                NAME,
            ),
            "connect",
        ),
        "banned": (
            "🚫 WhatsApp has blocked this number",
            (
                "Zelador will not try to reconnect: each attempt would make the block worse.",
                "{why}",
                "Open WhatsApp on the phone and ask for a review. Reconnect only after WhatsApp has released the"
                " number.",
                NAME,
            ),
            None,
        ),
        "conflict": (
            "⚠️ Your WhatsApp is in use somewhere else",
            (
                "Another program uses this same connection, and each throws the other out.",
                "Zelador has stopped reconnecting, to stay out of that fight.",
                "Close the other program, then press Reconnect now.",
                NAME,
            ),
            "connect",
        ),
        "gone": (
            "⚠️ The connection is no longer on the server",
            (
                "The connection server no longer knows your WhatsApp: somebody deleted the connection, or it lost it.",
                "Press Reconnect now and scan the QR code: the connection will be made again. Conversations and"
                " contacts kept here stay.",
                NAME,
            ),
            "connect",
        ),
        "deaf": (
            "⚠️ WhatsApp is connected, but mute",
            (
                "Your WhatsApp shows as connected, but it does not work.",
                "{deaf}",
                "Zelador will restart the connection with care; you do not lose the pairing.",
                "If it goes on, open WhatsApp on the phone and check its internet.",
                NAME,
            ),
            None,
        ),
        "flapping": (
            "⚠️ WhatsApp keeps dropping and coming back",
            (
                "Your connection drops and comes back all the time.",
                "{why}",
                "Zelador will reconnect less often and will not tell you of each drop.",
                "Check the phone's internet, and whether another program uses this same WhatsApp.",
                NAME,
            ),
            None,
        ),
        "recovered": (
            "Reconnected! ✅",
            (
                "Your WhatsApp works again.",
                "It was offline for {seconds}.",
                "You do not have to do anything.",
                NAME,
            ),
            None,
        ),
        "recovered_collapsed": (
            "Reconnected! ✅",
            (
                "Your WhatsApp was offline and is already back.",
                "It lasted {seconds}.",
                "{why}",
                "You do not have to do anything.",
                NAME,
            ),
            None,
        ),
        "reminder": (
            "⚠️ The problem with your WhatsApp goes on",
            (
                "What you were told about is not settled yet.",
                "It has lasted {seconds}.",
                "{why}",
                "What you have to do stands in the incident, on Zelador's dashboard.",
                NAME,
            ),
            None,
        ),
        "gateway_reminder": (
            "⚠️ The connection server is still in trouble",
            (
                "The problem you were told about goes on.",
                "It has lasted {seconds}.",
                "Confirm that you know, and the reminders stop.",
                SERVER,
            ),
            None,
        ),
        "gateway_down": (
            "🚫 The connection server does not answer",
            (
                "From here, Zelador cannot reach the server that connects the WhatsApps.",
                "{affected} depend on it.",
                "While it does not answer, none of them is judged or reconnected: the trouble is not theirs.",
                "Check that the server is on and that the network to it works.",
                SERVER,
            ),
            None,
        ),
        "gateway_auth": (
            "🚫 The connection server refuses our key",
            (
                "The server answers, but does not accept Zelador's access key.",
                "{affected} depend on it.",
                "Check EVOLUTION_API_KEY: it must equal the key that is configured on the server.",
                SERVER,
            ),
            None,
        ),
        "gateway_licence": (
            "🚫 The connection server wants its licence activated",
            (
                "The server is on, but does nothing until its licence is activated.",
                "{affected} depend on it.",
                "Open the server's panel and activate the licence.",
                SERVER,
            ),
            None,
        ),
        "gateway_mass": (
            "🚫 Many WhatsApps dropped at the same time",
            (
                "{affected} stopped almost together, so they share the cause: the server, the network or WhatsApp"
                " itself.",
                "Zelador waits some minutes and then reconnects little by little, without telling of each one.",
                "If it does not pass, restart the connection server and read its logs.",
                SERVER,
            ),
            None,
        ),
        "gateway_outdated": (
            "🚫 The connection server is out of date",
            (
                "WhatsApp no longer accepts the version that this server uses; reconnecting does not help.",
                "{affected} have stopped because of it.",
                "Update the connection server.",
                SERVER,
            ),
            None,
        ),
        "gateway_recovered": (
            "Connection server is back ✅",
            (
                "The server that connects the WhatsApps works again.",
                "The trouble lasted {seconds}.",
                "Zelador is checking each connection; you will be told of those that do not come back by themselves.",
                SERVER,
            ),
            None,
        ),
        "gateway_recovered_collapsed": (
            "Connection server is back ✅",
            (
                "The server that connects the WhatsApps had a problem and is already back.",
                "It lasted {seconds}.",
                "Zelador is checking each connection; you will be told of those that do not come back by themselves.",
                SERVER,
            ),
            None,
        ),
    },
    actions={"connect": "Reconnect now"},
    reasons={
        "logged_out": "The device was disconnected on the phone, under Linked devices, or by WhatsApp itself.",
        "banned": "WhatsApp says that this number is banned.",
        "banned_for_now": "WhatsApp has suspended this number for a while.",
        "outdated": "WhatsApp refused the version that the connection server uses.",
        "timed_out": "The connection to WhatsApp timed out: the phone's or the server's internet was unsteady.",
        "qr_limit": "The QR code was shown several times and nobody scanned it.",
        "replaced": "The same connection was opened somewhere else.",
        "bad_session": "The pairing's data is damaged and WhatsApp no longer accepts it.",
        "unavailable": "WhatsApp itself is unavailable.",
        "restart": "WhatsApp asked for the connection to start again.",
        "connection_lost": "The connection to WhatsApp was lost.",
    },
    deaf={
        "sends_fail": "Messages that are sent come back with an error.",
        "silent": "No message has come in for much longer than usual.",
    },
    counts={
        "checks": ("check", "checks"),
        "attempts": ("attempt", "attempts"),
        "connections": ("connection", "connections"),
    },
    days=("day", "days"),
)
