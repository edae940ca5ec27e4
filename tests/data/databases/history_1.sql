CREATE TABLE conversations (
    number INTEGER NOT NULL,
    id VARCHAR(64) NOT NULL,
    who VARCHAR(16) NOT NULL,
    made BIGINT NOT NULL,
    metadata JSON NOT NULL,
    PRIMARY KEY (number),
    UNIQUE (id)
);
INSERT INTO "conversations" VALUES(1,'conv_1','k',1,'{}');
CREATE TABLE turns (
    number INTEGER NOT NULL,
    id VARCHAR(64) NOT NULL,
    who VARCHAR(16) NOT NULL,
    made BIGINT NOT NULL,
    metadata JSON NOT NULL,
    kind VARCHAR(16) NOT NULL,
    base TEXT NOT NULL,
    asked TEXT NOT NULL,
    meant TEXT NOT NULL,
    answered TEXT NOT NULL,
    body TEXT NOT NULL,
    conversation VARCHAR(64) NOT NULL,
    previous VARCHAR(64) NOT NULL,
    PRIMARY KEY (number),
    UNIQUE (id)
);
INSERT INTO "turns" VALUES(1,'resp_1','k',1,'{}','response','','a?','a?','b','{}','conv_1','');
CREATE INDEX ix_conversations_who ON conversations (who);
CREATE INDEX ix_turns_who ON turns (who);
CREATE INDEX ix_turns_previous ON turns (previous);
CREATE INDEX ix_turns_conversation ON turns (conversation);
