"""What Zelador says about health, in Brazilian Portuguese; monitor.texts chooses."""

from typing import Final

from monitor.languages.wording import Wording

NAME, SERVER = "Conexão: {instanceName}.", "Servidor: {gateway}."

PT: Final = Wording(
    texts={
        "down": (
            "⚠️ WhatsApp sem conexão",
            (
                "Seu WhatsApp parou de responder.",
                "{why}",
                "Falhou em {failures} seguidas.",
                "O Zelador está cuidando disso e vai tentar reconectar.",
                "Confira se o celular está ligado e com internet.",
                NAME,
            ),
            None,
        ),
        "reconnect_failed": (
            "Reconexão falhou ❌",
            (
                "O Zelador tentou reconectar o seu WhatsApp e não conseguiu.",
                "{why}",
                "Já foram {attempts}.",
                "Ele continua tentando, mas você pode resolver agora: toque em Reconectar Agora e, se aparecer um"
                " QR Code, escaneie com o celular.",
                NAME,
            ),
            "connect",
        ),
        "gave_up": (
            "WhatsApp parado: precisamos de você ❌",
            (
                "O Zelador parou de tentar reconectar o seu WhatsApp, para não prejudicar o seu número.",
                "Foram {attempts} sem sucesso.",
                "{why}",
                "Confira se o celular está ligado e com internet e toque em Reconectar Agora.",
                NAME,
            ),
            "connect",
        ),
        "needs_qr": (
            "⚠️ Escaneie o QR Code de novo",
            (
                "Seu WhatsApp foi desconectado e só volta com um novo QR Code.",
                "{why}",
                "Toque em Reconectar Agora e escaneie o código em Aparelhos conectados, no WhatsApp do celular.",
                NAME,
            ),
            "connect",
        ),
        "banned": (
            "🚫 O WhatsApp bloqueou este número",
            (
                "O Zelador não vai tentar reconectar: cada tentativa pioraria o bloqueio.",
                "{why}",
                "Abra o WhatsApp no celular e peça uma análise. Reconecte só depois que o WhatsApp liberar o número.",
                NAME,
            ),
            None,
        ),
        "conflict": (
            "⚠️ Seu WhatsApp está em uso em outro lugar",
            (
                "Outro programa usa esta mesma conexão, e um derruba o outro.",
                "O Zelador parou de reconectar para não entrar nessa briga.",
                "Feche o outro programa e depois toque em Reconectar Agora.",
                NAME,
            ),
            "connect",
        ),
        "gone": (
            "⚠️ A conexão não existe mais no servidor",
            (
                "O servidor de conexão não conhece mais o seu WhatsApp: alguém apagou a conexão, ou ele a perdeu.",
                "Toque em Reconectar Agora e escaneie o QR Code: a conexão será criada de novo. Conversas e contatos"
                " guardados aqui continuam.",
                NAME,
            ),
            "connect",
        ),
        "deaf": (
            "⚠️ WhatsApp conectado, mas mudo",
            (
                "Seu WhatsApp aparece como conectado, mas não está funcionando.",
                "{deaf}",
                "O Zelador vai reiniciar a conexão com cuidado; você não perde o pareamento.",
                "Se continuar, abra o WhatsApp no celular e confira a internet.",
                NAME,
            ),
            None,
        ),
        "flapping": (
            "⚠️ WhatsApp caindo e voltando",
            (
                "Sua conexão cai e volta sem parar.",
                "{why}",
                "O Zelador vai reconectar com menos frequência e não vai avisar de cada queda.",
                "Confira a internet do celular e se outro programa usa este mesmo WhatsApp.",
                NAME,
            ),
            None,
        ),
        "recovered": (
            "Reconectado! ✅",
            (
                "Seu WhatsApp voltou a funcionar.",
                "Ficou sem conexão por {seconds}.",
                "Você não precisa fazer nada.",
                NAME,
            ),
            None,
        ),
        "recovered_collapsed": (
            "Reconectado! ✅",
            (
                "Seu WhatsApp ficou sem conexão e já voltou.",
                "Durou {seconds}.",
                "{why}",
                "Você não precisa fazer nada.",
                NAME,
            ),
            None,
        ),
        "reminder": (
            "⚠️ O problema com o seu WhatsApp continua",
            (
                "O que foi avisado antes ainda não se resolveu.",
                "Já dura {seconds}.",
                "{why}",
                "O que você precisa fazer está no incidente, no painel do Zelador.",
                NAME,
            ),
            None,
        ),
        "gateway_reminder": (
            "⚠️ O servidor de conexão ainda tem problemas",
            (
                "O problema avisado antes continua.",
                "Já dura {seconds}.",
                "Confirme que já sabe, e os lembretes param.",
                SERVER,
            ),
            None,
        ),
        "gateway_down": (
            "🚫 O servidor de conexão não responde",
            (
                "Daqui, o Zelador não consegue falar com o servidor que liga os WhatsApps.",
                "{affected} dependem dele.",
                "Enquanto ele não responder, nenhuma é julgada nem reconectada: o problema não é delas.",
                "Confira se o servidor está ligado e se a rede até ele funciona.",
                SERVER,
            ),
            None,
        ),
        "gateway_auth": (
            "🚫 O servidor de conexão recusa a nossa chave",
            (
                "O servidor responde, mas não aceita a chave de acesso do Zelador.",
                "{affected} dependem dele.",
                "Confira EVOLUTION_API_KEY: deve ser igual à chave configurada no servidor.",
                SERVER,
            ),
            None,
        ),
        "gateway_licence": (
            "🚫 O servidor de conexão pede ativação da licença",
            (
                "O servidor está ligado, mas não faz nada enquanto a licença dele não for ativada.",
                "{affected} dependem dele.",
                "Entre no painel do servidor e ative a licença.",
                SERVER,
            ),
            None,
        ),
        "gateway_mass": (
            "🚫 Muitos WhatsApps caíram ao mesmo tempo",
            (
                "{affected} pararam quase juntas, então a causa é comum a todas: o servidor, a rede ou o próprio"
                " WhatsApp.",
                "O Zelador espera alguns minutos e depois reconecta aos poucos, sem avisar de cada uma.",
                "Se não passar, reinicie o servidor de conexão e veja os registros dele.",
                SERVER,
            ),
            None,
        ),
        "gateway_outdated": (
            "🚫 O servidor de conexão está desatualizado",
            (
                "O WhatsApp não aceita mais a versão que este servidor usa; reconectar não adianta.",
                "{affected} já pararam por isso.",
                "Atualize o servidor de conexão.",
                SERVER,
            ),
            None,
        ),
        "gateway_recovered": (
            "Servidor de conexão de volta ✅",
            (
                "O servidor que liga os WhatsApps voltou a funcionar.",
                "O problema durou {seconds}.",
                "O Zelador está conferindo cada conexão; as que não voltarem sozinhas serão avisadas.",
                SERVER,
            ),
            None,
        ),
        "gateway_recovered_collapsed": (
            "Servidor de conexão de volta ✅",
            (
                "O servidor que liga os WhatsApps teve um problema e já voltou.",
                "Durou {seconds}.",
                "O Zelador está conferindo cada conexão; as que não voltarem sozinhas serão avisadas.",
                SERVER,
            ),
            None,
        ),
    },
    actions={"connect": "Reconectar Agora"},
    reasons={
        "logged_out": "O aparelho foi desconectado no celular, em Aparelhos conectados, ou pelo próprio WhatsApp.",
        "banned": "O WhatsApp diz que este número está banido.",
        "banned_for_now": "O WhatsApp suspendeu este número por um tempo.",
        "outdated": "O WhatsApp recusou a versão usada pelo servidor de conexão.",
        "timed_out": "A conexão com o WhatsApp expirou: a internet do celular ou do servidor oscilou.",
        "qr_limit": "O QR Code foi mostrado várias vezes e ninguém o escaneou.",
        "replaced": "A mesma conexão foi aberta em outro lugar.",
        "bad_session": "Os dados do pareamento se estragaram e o WhatsApp não os aceita mais.",
        "unavailable": "O próprio WhatsApp está fora do ar.",
        "restart": "O WhatsApp pediu para a conexão recomeçar.",
        "connection_lost": "A conexão com o WhatsApp caiu.",
    },
    deaf={
        "sends_fail": "As mensagens enviadas voltam com erro.",
        "silent": "Não chega nenhuma mensagem há muito mais tempo do que o normal.",
    },
    counts={
        "checks": ("verificação", "verificações"),
        "attempts": ("tentativa", "tentativas"),
        "connections": ("conexão", "conexões"),
    },
    days=("dia", "dias"),
)
