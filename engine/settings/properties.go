// SPDX-License-Identifier: Apache-2.0

// Code generated from metabase/schema/properties.tsv by make docs. DO NOT EDIT.

package settings

import "restante/metabase"

// The properties that have an effect, by the names of the schema.
const (
	AcceptBareLinefeed                metabase.ID = 0x00520104
	AccessSSLFlags                    metabase.ID = 6030
	AllowLoopbackHosts                metabase.ID = 0x00520140
	AllowVerify                       metabase.ID = 0x0052000d
	AlwaysUseSsl                      metabase.ID = 0x0052000e
	AtrnBindings                      metabase.ID = 0x00520103
	AuthFlags                         metabase.ID = 6000
	AuthTurnList                      metabase.ID = 36966
	BadMailDirectory                  metabase.ID = 36909
	ClearTextAuth                     metabase.ID = 0x0052010a
	ConnectionIpv6List                metabase.ID = 0x0052010f
	ConnectionLimitExempt             metabase.ID = 0x00520121
	ConnectionTimeout                 metabase.ID = 1013
	ConnectResponse                   metabase.ID = 0x00520007
	CramSecret                        metabase.ID = 0x00520106
	DefaultDomain                     metabase.ID = 36908
	DefaultLogonDomain                metabase.ID = 6012
	DisablePickupDotStuff             metabase.ID = 0x00520003
	DnsServers                        metabase.ID = 0x00520100
	DoMasquerade                      metabase.ID = 36913
	DontLog                           metabase.ID = 6023
	DropDirectory                     metabase.ID = 36882
	EtrnAllow                         metabase.ID = 0x00520130
	EtrnReportCounts                  metabase.ID = 0x0052010d
	EtrnRequireAuth                   metabase.ID = 0x0052010c
	EtrnSubdomains                    metabase.ID = 0x0052000a
	FullyQualifiedDomainName          metabase.ID = 0x00520004
	HistoryMaxDays                    metabase.ID = 0x00520108
	HistoryMaxRevisions               metabase.ID = 0x00520107
	HopCount                          metabase.ID = 36886
	IPSecurity                        metabase.ID = 6019
	LogExtFileFlags                   metabase.ID = 4013
	LogFileDirectory                  metabase.ID = 4001
	LogFilePeriod                     metabase.ID = 4003
	LogFileTruncateSize               metabase.ID = 4004
	LogType                           metabase.ID = 4000
	MasqueradeDomain                  metabase.ID = 36912
	MaxBatchedMessages                metabase.ID = 36871
	MaxConnections                    metabase.ID = 1014
	MaxConnectionsPerAddress          metabase.ID = 0x00520120
	MaxJunkCommands                   metabase.ID = 0x00520124
	MaxMessageSize                    metabase.ID = 36891
	MaxOutConnections                 metabase.ID = 36894
	MaxOutConnectionsPerDomain        metabase.ID = 36925
	MaxRecipients                     metabase.ID = 36895
	MaxRefusedRecipients              metabase.ID = 0x00520123
	MaxSessionSize                    metabase.ID = 36892
	MaxSmtpErrors                     metabase.ID = 36887
	MaxUnfinishedBytes                metabase.ID = 0x00520122
	MinBodyRate                       metabase.ID = 0x00520126
	PickupDirectory                   metabase.ID = 36880
	QueueDirectory                    metabase.ID = 36875
	RelayForAuth                      metabase.ID = 36973
	RelayIpList                       metabase.ID = 36970
	RelayIpv6List                     metabase.ID = 0x00520109
	ReleaseIdleTimeout                metabase.ID = 0x00520131
	ReleaseInterval                   metabase.ID = 0x0052010e
	RemoteSmtpPort                    metabase.ID = 36914
	RemoteTimeout                     metabase.ID = 36921
	ReportCollectTime                 metabase.ID = 0x00520170
	RouteAction                       metabase.ID = 36946
	RouteActionString                 metabase.ID = 36947
	RouteClearTextAuth                metabase.ID = 0x00520160
	RoutePassword                     metabase.ID = 36949
	RouteUserName                     metabase.ID = 36948
	SaslLogonDomain                   metabase.ID = 36940
	ScramVerifier                     metabase.ID = 0x00520105
	SecureBindings                    metabase.ID = 2021
	ServerAutoStart                   metabase.ID = 1017
	ServerBindings                    metabase.ID = 1023
	ServerCommand                     metabase.ID = 1012
	ServerComment                     metabase.ID = 1015
	ServerListenTimeout               metabase.ID = 1020
	ServerState                       metabase.ID = 1016
	SessionTimeout                    metabase.ID = 0x00520125
	ShouldPickupMail                  metabase.ID = 0x00520001
	ShouldPipelineIn                  metabase.ID = 36902
	ShouldPipelineOut                 metabase.ID = 36901
	SmartHost                         metabase.ID = 36906
	SmartHostType                     metabase.ID = 36905
	SmtpAuthTimeout                   metabase.ID = 37006
	SmtpBdatTimeout                   metabase.ID = 37005
	SmtpConnectTimeout                metabase.ID = 37001
	SmtpDataTimeout                   metabase.ID = 37004
	SmtpDotStuffPickupDirFiles        metabase.ID = 37030
	SmtpHeloTimeout                   metabase.ID = 37012
	SmtpInboundCommandSupportOptions  metabase.ID = 36998
	SmtpLocalDelayExpireMinutes       metabase.ID = 37017
	SmtpLocalNDRExpireMinutes         metabase.ID = 37018
	SmtpMailFromTimeout               metabase.ID = 37002
	SmtpOutboundCommandSupportOptions metabase.ID = 36999
	SmtpRcptToTimeout                 metabase.ID = 37003
	SmtpRemoteDelayExpireMinutes      metabase.ID = 37019
	SmtpRemoteNDRExpireMinutes        metabase.ID = 37020
	SmtpRemoteProgressiveRetry        metabase.ID = 36996
	SmtpRsetTimeout                   metabase.ID = 37010
	SmtpSaslTimeout                   metabase.ID = 37007
	SmtpServiceVersion                metabase.ID = 36931
	SmtpSSLCertHostnameValidation     metabase.ID = 0x00520011
	SmtpSSLRequireTrustedCA           metabase.ID = 0x00520010
	SmtpTurnTimeout                   metabase.ID = 37009
	TlsCertificateFile                metabase.ID = 0x00520101
	TlsKeyFile                        metabase.ID = 0x00520102
	TurnRequireTls                    metabase.ID = 0x0052010b
	Win32Error                        metabase.ID = 1099
)
