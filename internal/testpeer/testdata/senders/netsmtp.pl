# Sends the jobs of a file, one JSON object a line, by Perl's Net::SMTP.
use strict;
use warnings;
use JSON::PP;
use Net::SMTP;
use Authen::SASL qw(Perl);

open(my $jobs, '<:raw', $ARGV[0]) or die $!;
while (my $line = <$jobs>) {
    my $job  = decode_json($line);
    my %none = (SSL_verify_mode => 0);
    my $s = Net::SMTP->new(Host => $job->{host}, Port => $job->{port}, Hello => 'perl.test', SSL => $job->{tls} eq 'implicit', %none)
        or die "$job->{id}: connect: $@";
    my $done = sub { $_[1] or die "$job->{id}: $_[0]: " . $s->code . ' ' . $s->message };
    $done->('STARTTLS', $s->starttls(%none)) if $job->{tls} eq 'starttls';
    if ($job->{mech}) {
        my $sasl = Authen::SASL->new(mechanism => $job->{mech}, callback => { user => $job->{user}, authname => $job->{user}, pass => $job->{password} });
        $done->('AUTH', $s->auth($sasl));
    }
    $done->('MAIL', $s->mail($job->{from}, Bits => 8));
    for my $to (@{ $job->{to} }) { $done->("RCPT $to", $s->to($to)) }
    open(my $in, '<:raw', $job->{file}) or die $!;
    $done->('DATA', $s->data);
    while (read($in, my $text, 1 << 16)) { $done->('body', $s->datasend($text)) }
    $done->('end', $s->dataend);
    $s->quit;
}
