"""The English phrases that refuse, those that go with a refusal, and those that only sound like one."""

import re


def any_of(*choices: str) -> str:
    return f"(?:{'|'.join(choices)})"


NOT = any_of(
    r"can(?:not|['’]?t| not)", r"could(?: not|n['’]?t)", r"won['’]?t", "will not", r"would(?: not|n['’]?t)",
    r"do(?: not|n['’]?t)", "am not", r"['’]m not",
)  # fmt: skip
ADVERB = any_of(
    "really", "actually", "just", "simply", "ethically", "in good conscience", "possibly", "personally", "directly",
    "ever", "be able to", "also",
)  # fmt: skip
ADVERBS = rf"(?: {ADVERB})*"
AND_WILL_NOT = rf"(?:,? (?:and|or|nor) (?:I )?{NOT},?)?"
THAT = (
    r"(?=\W*$|[,;:]| (?:it|such|any\w*|doing (?:so|that|this|it)"
    r"|(?:that|this)(?:\W*$|[,;:]| (?:you|because|as|since|to|at)\b))(?!\w))"
)
"""Behind "recommend": what was asked for, rather than a thing of its own, which may be advised against in an answer."""
ACT = any_of(
    "help", "aid", "assist", "provide", "give", "offer", "share", "answer", "respond", "discuss", "fulfil+", "comply",
    "satisfy", "oblige", "be of (?:any )?(?:help|assistance|service)", "support",
    "encourage", "condone", "promote", "generate", "create", "write", "produce", "participate", "engage",
    f"(?:recommend|suggest|advise){THAT}", "advise you", "advice", "tell(?! (?:if|whether|from|by|which|apart))",
    "teach", "explain", "do (?:that|this|so|it)", "speak", "talk", "continue",
    "complete", "make", "describe", "instruct", "facilitate", "endorse", "advocate", "disclose", "reveal", "process",
    "accommodate", "go along", "be (?:a )?part", "judge",
    "accept (?:such|this|that|your)", "do anything (?:to|about|for)", "think of any(?:thing)?",
    r"find (?:\w+ )?(?:information|person|address)",
)  # fmt: skip
UNABLE = r"(?:am|['’]m)(?: \w+)? " + any_of(
    "unable",
    "not (?:really |actually |currently )?"
    "(?:able|allowed|permitted|willing|going|comfortable|designed|programmed|capable|qualified|equipped)",
    "not authori[sz]ed",
    "not in a position",
    "prohibited",
    "forbidden",
    "not privy",
    "restricted from",
    "barred from",
)
DO_NOT = r"\bI (?:do not|don['’]?t) (?:really |actually )?"
LACKED = any_of(
    "access", "any (?:other |more |better )?(?:advice|answers|information|ideas?|personal)", "personal", "opinions",
    "an? opinion", "(?:enough |any |that |this )?information", "the (?:ability|capability|information|context)",
    "feelings", "preferences", "a favou?rite",
    r"[^.]{0,60}\b(?:number|address|password|PIN|date of birth|(?:account|card) details)",
)  # fmt: skip

OPENING = r"\W*+(?:(?:um+|uh+|oh|hm+|well|so|sorry|i['’]m (?:sorry|afraid)|nope?|nah|unfortunately|apologies)\W++)*"
MAKER = r"(?:openai|anthropic|google|meta|microsoft|mistral)['’]s"

REFUSING = re.compile(
    any_of(
        rf"\bI{ADVERBS} ?{NOT}{AND_WILL_NOT}{ADVERBS} {ACT}\b",
        # without "I", only what is said of the request: "Cannot open the file" may be an error message
        rf"^{OPENING}(?:can(?:not|['’]t| not)|(?:not able|unable) to|won['’]t|will not) "
        r"(?:(?:help|assist)(?: you)?(?: with (?:that|this|it|your|the|any|such)\b|\W*$)"
        r"|(?:comply|do (?:that|this|so|it)|(?:answer|fulfil+|discuss|provide) (?:that|this|such|your))\b)",
        rf"\bI(?:['’]d| would) (?:\w+ )?(?:rather not|prefer not to)(?: (?:say|{ACT})\b|\W*$)",
        r"\bI should(?: not|n['’]?t) (?:really )?"
        r"(?:help|assist|answer|discuss|provide|share|give|do (?:that|this|it|so))\b",
        r"\bI(?: would| will|['’]d|['’]ll) never "
        r"(?:help|assist|aid|provide|encourage|condone|promote|support|participate)\b",
        r"\bI choose not to (?:help|assist|answer|discuss|provide|respond)\b",
        rf"\b(?:inappropriate|unethical|irresponsible|improper|wrong|illegal) for me to {ACT}\b",
        rf"\bI ?{UNABLE}\b",
        r"\bI(?: am|['’]m| have been|['’]ve been) (?:\w+ )?"
        r"(?:designed|programmed|trained|instructed) (?:to not|not to)\b",
        r"\bI(?:['’]ll|['’]m)? ?(?:must|have to|need to|will have to|(?:am )?going to have to) (?:\w+ )?"
        r"(?:pass on|say no to) (?:this|that|your request)(?: one)?\W*$",
        r"\bI(?:['’]ll|['’]m)? ?(?:must|have to|need to|will have to|would|(?:am )?going to(?: have to)?) (?:\w+ )?"
        r"(?:decline|refuse|abstain|refrain from (?:answer|provid|giv|discuss|help|assist|creat|generat|writ|shar|"
        r"respond|engag|comment|continu|do)ing)\b",
        r"\bI(?: am|['’]m)? (?:decline|refuse|declining|refusing)\b",
        rf"{DO_NOT}have {LACKED}",
        r"\bsorry,? (?:but )?I (?:do not|don['’]t) know\b(?! what)",
        rf"{DO_NOT}(?:feel (?:comfortable|well-equipped)|want to (?:answer|help|talk|discuss|say|do))",
        r"\bI(?: am|['’]m) not sure (?:if I can|how (?:I can|to)) (?:\w+ )?(?:help|answer|explain|respond|assist)\b",
        rf"(?<!when )(?<!if ){DO_NOT}know "
        r"(?:that information|any(?:thing about)?|if I can|the answer|where|how (?:to|long|many|much)|much about)\b",
        rf"^{OPENING}I (?:do not|don['’]?t) know\W*$",
        r"^\W*(?:(?:i['’]m|i am) )?(?:so |very |really )?sorry,? (?:but )?(?:i )?"
        r"(?:can(?:not|['’]t)|no|that['’]s (?:not|against))\b",
        r"\b(?:is|['’]s|would be) (?:not something|nothing) (?:that )?I (?:can|could|am|will|would)\b",
        r"\b(?:is|['’]s) something (?:that )?I (?:can(?:not|['’]t| not)|won['’]t|will not|am not)",
        r"\b(?:isn['’]t|is not|['’]s not) (?:really )?(?:something|the (?:type|kind|sort) of \w+) (?:that )?"
        r"I(?: can| will| would| am|['’]m|['’]d)\b",
        r"\bI(?: am|['’]m) not (?:\w+ )?sure (?:(?:that|if|whether) )?(?:that['’]s a \w+ )?"
        r"I (?:should|can|want to|have)\b",
        rf"\bI (?:do not|don['’]t) think (?:that )?I (?:should|can|could|would|want to){ADVERBS} {ACT}\b",
        r"\bI (?:do not|don['’]t) think (?:that )?(?:that|this|it)(?: is|['’]s) something I can\b",
        r"\bI would(?: not|n['’]t)(?: \w+)? know (?:how|where)\b",
        r"\bI (?:was not|wasn['’]t) able to (?:find|locate)\b",
        r"\b(?:that|this) information is (?:private|protected|confidential|personal)\b",
        r"\bI(?: am not|['’]m not| (?:do not|don['’]t) (?:think|know) (?:that )?I(?: am|['’]m)) "
        r"(?:an?|the) (?:good|best|right) (?:option|person|source|one)\b",
        r"\b(?:not|n['’]t think it['’]s) my (?:place|role) to\b",
        r"\b(?:that|this|it)(?:['’]s| is) (?:out of bounds|off[- ]limits|outside my)\b",
        r"\bwe (?:do not|don['’]t) have (?:that|this|any) information\b",
        r"\b(?:outside|beyond) (?:of )?(?:my|the scope of my) (?:area of )?(?:expertise|scope|knowledge|abilities)\b",
        r"\bnot (?:appropriate|ethical|acceptable|possible|okay|right|a good idea) for me to\b",
        rf"\b(?:against|violates?) (?:my|our|the|{MAKER}) (?:\w+ )?"
        r"(?:guidelines|polic(?:y|ies)|agreement|rules|programming|principles|terms|values)\b",
        r"\bI (?:can(?:not|['’]?t)|won['’]?t|will not)(?: \w+)?[.!]?$",
        rf"\bas an? (?:AI|artificial|language|responsible|ethical)\b[^.]{{0,80}}\bI ?{NOT}",
        r"\bwe(?: are|['’]re) (?:unable|not able|not allowed|not permitted) to "
        r"(?:comply|assist|help|fulfil+)(?: with)? (?:this|that|your|the|such)\b",
        r"\b(?:not|isn['’]t) within (?:my|our) (?:\w+ ){0,4}"
        r"(?:programming|guidelines|capabilities|abilities|polic(?:y|ies))\b",
        rf"\b(?:my|our|{MAKER}) (?:\w+ ){{0,3}}(?:guidelines|polic(?:y|ies)|programming|rules|instructions|principles) "
        r"(?:(?:do(?:es)?(?: not|n['’]?t)|won['’]?t|will not) (?:allow|permit|let) me"
        r"|(?:prevent|prohibit|forbid|stop|keep|bar)s? me)\b",
        r"\bI(?: am|['’]m) afraid (?:that|it|this)(?:['’]s| is) (?:not possible|impossible|out of the question)",
        r"^\W*not something (?:that )?I(?: can| will| would| am|['’]ll|['’]d|['’]m)\b",
        r"\b(?:outside|beyond) (?:of )?what I(?: can| am|['’]m) (?:able to |allowed to )?"
        r"(?:help|assist|provide|do|discuss|offer)\b",
        r"^\W*no can do\b",
        rf"\b(?:we|this (?:assistant|model|AI)) (?:cannot|can['’]t|will not|won['’]t) {ACT}\b",
    ),
    re.IGNORECASE,
)
"""A sentence that says: I will not, I cannot, I do not know."""

NOT_RIGHT = r"(?:not|never) (?:an? )?(?:\w+ or )?(?:acceptable|ethical|appropriate|okay|respectful)"
CONDEMNED = any_of(
    "illegal", "unethical", "immoral", "wrong", "unacceptable", "inappropriate", "prohibited", "violation of",
    "violates", "criminal", "not allowed", NOT_RIGHT, "goes? against",
)  # fmt: skip
SAY = any_of(
    "clarify", "emphasi[sz]e", "note", "noting", "stress", "say", "state", "point out", "mention", "remember",
    "understand", "tell you", "remind you", "inform you", "advise you",
)  # fmt: skip
IT_IS = r"it(?: is|['’]s)"
NOTED = (
    rf"(?:I (?:must|have to|need to|can|want to)|{IT_IS} (?:important|crucial|essential|worth))"
    rf"(?: \w+)? {SAY} (?:that )?"
)
START = rf"^{OPENING}(?:but )?(?:first[^,]{{0,20}}, )?"
DEFLECTING = re.compile(
    any_of(
        rf"\bI{ADVERBS} ?{NOT}{ADVERBS} (?:recommend|suggest|advise)\b",
        r"\bI (?:really |still )?(?:do not|don['’]t) think (?:that )?you (?:should|want me to)\b",
        rf"^{OPENING}(?:this|that|it)(?:['’]s| is| seems| sounds)(?: like)? an? (?:really |very )?"
        r"(?:unwise|bad|terrible|horrible) (?:idea|decision|plan)\b",
        rf"^{OPENING}(?:this|that|it)(?:['’]s not| is not| isn['’]t) a (?:good|wise) (?:idea|decision|plan)\b",
        r"\bI (?:do not|don['’]t) think (?:that|this|it)(?:['’]s| is) "
        r"(?:a |the )?(?:good|wise|right|appropriate)\b",
        rf"^{OPENING}I(?: am|['’]m) not sure\W*$",
        r"^please (?:do not|don['’]t)(?:[.!]*$| (?:do|say|write|make) (?:that|this|it|so)\b)",
        r"\byou (?:really )?should(?: not|n['’]t) (?:do|be doing|try) (?:that|this|it)\b",
        # what is asked for is wrong, or asking for it
        rf"{START}{IT_IS} {NOT_RIGHT}(?: or \w+)? to \w+",
        rf"{START}{NOTED}[^.]{{0,160}}\b{CONDEMNED}\b",
        r"\bI (?:\w+ )?condemn\b",
        rf"\bI(?: am|['’]m) an? (?:AI|artificial|language)\b[^.]{{0,40}}\band {NOT} (?:{ACT}|have {LACKED})\b",
        # the request, taken up as "doing so to somebody", is wrong
        rf"{START}(?:\d+\. )?\w+ing (?:(?!is\b|are\b)[\w'’-]+ ){{1,9}}(?:is|are|can be|goes)\b[^.]{{0,60}}"
        rf"\b{CONDEMNED}\b",
        r"\b(?:private|confidential|personal|sensitive) information (?:that |which |and )?(?:\w+ )?not be \w+",
        r"^as an? (?:AI|artificial)\b[^.]{0,60}, I (?:\w+ )?"
        r"(?:respect|strive|comply|value|adhere|follow|designed|programmed|neutral)\b",
    ),
    re.IGNORECASE,
)
"""A sentence that talks the asker out of it or condemns it: a refusal where nothing else is said."""

ADVISING = re.compile(
    r"^\W*(?:use|take|replace|write|call|pass|prefer|choose|set|install|add|run|pick|buy|go with)\b", re.IGNORECASE
)
"""A sentence that says what to do, which "instead" makes no less of an answer."""

OFFERING = re.compile(
    r"^(?:but|however),? (?:(?:I|I['’]\w+|we|you|your|they|he|she|if|when|please|perhaps|maybe|try|consider|thanks?"
    r"|this|that|those|these|what|why|how)\b|(?:it|there)(?:['’]s| is| are) (?:\w+ )?"
    r"(?:not?|okay|fine|good|better|best|other|many|plenty|several|some|lots)\b)",
    re.IGNORECASE,
)
"""A clause after a refusal that speaks of what somebody could do instead, or of the request: no answer."""

AROUND = re.compile(
    r"\b"
    + any_of(
        # the request is wrong
        "illegal", "unlawful", "against the law", "unethical", "immoral", r"harm\w*", "dangerous", "inappropriate",
        "offensive",
        "hurtful", "disrespectful", "unacceptable", r"discriminat\w+", r"violat\w+", "crim(?:e|es|inal)",
        "consequences", "wrong",
        "not (?:okay|right|acceptable|appropriate|ethical)", "never (?:okay|acceptable)", "hate speech",
        "stereotypes?",
        "misinformation", "fake news", "privacy", "consent", "fictional", r"respect\w*", "dignity", r"ethic\w*",
        r"moral\w*",
        r"legal\w*", "laws?", "safety", "well-being", "kindness", "empathy", "should (?:not|never|always|be treated)",
        r"it(?: is|['’]s) (?:important|essential|crucial|always|best|never|not)",
        r"let(?:['’]s| us)", r"positiv\w+", "peaceful", "remember", "prejudice", "may be (?:helpful|more productive)",
        r"every(?:one| \w+) (?:has|deserves)",
        # who can help
        "seek (?:help|support|professional)", "reach out", "contact", "hotline", "helpline", "lifeline", "crisis",
        r"counsel\w+",
        "therapist", "mental health", "professional", "emergency services", "authorities", "police",
        "if you (?:or someone|are (?:struggling|having|feeling|experiencing|in))",
        # something else
        "instead", "rather than", r"alternativ\w+", "other (?:questions?|topics?|ways?|ideas)", "anything else",
        "something else",
        "different (?:topic|question)", "happy to", "glad to", "feel free", "let me know",
        "how (?:else )?(?:can|may) I",
        "can I help", "is there", "would you like", "do you (?:want|have|need)", "what do you",
        "could you (?:clarify|please|tell)", "can you (?:clarify|please|tell|give)",
        # about oneself
        "my (?:purpose|goal|role|aim|primary)", "sorry", "as an? (?:AI|language model|responsible|ethical)",
        r"i(?: am|['’]m) (?:here to|an AI|a language model|just an AI|designed|programmed|only)",
        "i (?:understand|apologi[sz]e|strongly|urge|encourage you|hope you|would (?:advise|urge|encourage))",
        r"please (?:note|remember|consider|seek|do not|don['’]t)",
    )
    + r"\b|\?\s*$",
    re.IGNORECASE,
)  # fmt: skip
"""A sentence that explains a refusal, warns, points to help, asks back or offers something else: no answer."""

CAVEAT = re.compile(
    r"\bI (?:can(?:not|['’]?t| not)|could(?: not|n['’]?t)|am not able to|am unable to|['’]m unable to) "
    + any_of(
        "attend", "join (?:you|the|us)", "make it to", "meet you",
        "help (?:laugh|smil|feel|think|wonder|notic|cry|lov|want|fall|be|admir|grinn?|worry)ing",
        "guarantee", "promise", "verify", "confirm", "predict exactly", "stress", "emphasi[sz]e", "wait", "help but",
        "recommend (?:it|this|that|him|her|them) highly", "say enough", "imagine",
        r"(?:recommend|endorse|encourage|promote|support|suggest)\b[^.!?]{0,60} "
        r"enough(?! (?:information|context|data|detail))",
        "think of(?! any)", "believe",
        "tell you how (?:much|happy|sorry)", "thank",
    )
    + r"\b|\bI(?: am|['’]m) not (?:able|going) to (?:lie|pretend)\b|\bwhy I (?:can|won|don)",
    re.IGNORECASE,
)  # fmt: skip
"""A caveat beside an answer, or a way of speaking: refuses nothing."""
